"""Action heads: the readout to a chunk of normalized actions. Noise comes in; nothing draws it here.

Every head answers for the newest timestep it is given, and says of itself: `horizon` and
`action_dim` of a chunk; `max_action`, the bound of its actions, infinite where it sets none;
`diffusion_steps`, 0 where it does not denoise; `bins`, 0 where actions are no choice among bins;
and `noise_shapes`.
"""

from __future__ import annotations

from octo_ros.model.config import DiffusionHead, DiscreteHead, Head, UNetHead
from octo_ros.model.heads.continuous import ContinuousActions
from octo_ros.model.heads.diffusion import DiffusionActions
from octo_ros.model.heads.discrete import DiscreteActions
from octo_ros.model.heads.unet_diffusion import UNetActions
from octo_ros.model.support import check_tokens

Actions = ContinuousActions | DiscreteActions | DiffusionActions | UNetActions


def build_head(config: Head, width: int, tokens: int) -> Actions:
    """The head of a configuration.

    Args:
        config: the official head's keywords.
        width: of the transformer.
        tokens: how many of each timestep the head reads.

    Raises:
        CheckpointError: a head that cannot decode that many tokens.
    """
    check_tokens(config, tokens, "config: heads.action")
    if isinstance(config, DiscreteHead):
        return DiscreteActions(config, width)
    if isinstance(config, DiffusionHead):
        return DiffusionActions(config, width)
    if isinstance(config, UNetHead):
        return UNetActions(config, width, tokens)
    return ContinuousActions(config, width)
