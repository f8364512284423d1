"""What a configuration may ask for that no single field shows: sizes that must fit, parts left out.

What the official code itself cannot run is refused here too, by the field that asks for it.
"""

from __future__ import annotations

from octo_ros.errors import CheckpointError
from octo_ros.model.config import (
    ContinuousHead,
    DiffusionHead,
    DiscreteHead,
    Head,
    ImageTokenizer,
    LowdimTokenizer,
    OctoConfig,
    Resnet,
    SmallStem,
    TextProcessor,
    UNetHead,
)
from octo_ros.types import ACTION_AXES

STEM_PATCH = 16
"""Pixels per patch that the official stem's convolutions are taken to leave for the embedding."""

NORM_GROUPS = 32
POOLING_HEADS = 8

UNET_HALVINGS = 2
"""How often the U-Net halves the horizon and doubles it again."""

_TOKEN_PER = ("", "action_horizon", "action_dim_and_action_horizon")
_BIN_TYPES = ("uniform", "normal")
_VARIANCE_TYPES = ("fixed_large", "fixed_small")


def check_support(config: OctoConfig, where: str) -> None:
    """Refuses a configuration that is inconsistent or asks for what is not supported.

    Args:
        config: as read, each field of its own type.
        where: place in the file, for messages.

    Raises:
        CheckpointError: naming the field, what was expected and what came.
    """
    width, heads = config.token_embedding_size, config.transformer.num_attention_heads
    if width % heads:
        raise CheckpointError(
            f"{where}: token_embedding_size: expected a multiple of "
            f"num_attention_heads = {heads}, got {width}"
        )
    if config.transformer.add_position_embedding:
        raise CheckpointError(f"{where}.transformer_kwargs: add_position_embedding true is not supported")
    if not config.readouts:
        raise CheckpointError(f"{where}.readouts: expected at least one")
    _check_head(config, f"{where}.heads.action")
    for name, tokenizer in config.observation_tokenizers.items():
        at = f"{where}.observation_tokenizers.{name}"
        if isinstance(tokenizer, ImageTokenizer):
            _check_images(tokenizer, at)
        else:
            _check_values(tokenizer, at)


def check_window(config: OctoConfig, window: int, where: str) -> None:
    """Refuses timesteps that the head cannot take, which the example batch shows alone."""
    if isinstance(config.head, UNetHead) and window != 1:
        raise CheckpointError(
            f"{where}: {config.head.name} samples from one timestep alone: expected a window of 1, "
            f"got {window}"
        )


def check_text(config: OctoConfig, ids: bool, where: str) -> None:
    """Refuses token ids of an instruction whose text processor gives something else."""
    text = config.text_processor
    if ids and text is not None and (not isinstance(text, TextProcessor) or text.encode_with_model):
        raise CheckpointError(
            f"{where}: the example's instruction holds token ids: expected a text_processor HFTokenizer "
            f"without encode_with_model, got {text.name}"
        )


def check_tokens(head: Head, tokens: int, where: str) -> None:
    """Refuses a head that reads another number of tokens of each timestep than it decodes."""
    if isinstance(head, DiscreteHead) and not head.use_map and tokens != head.tokens:
        raise CheckpointError(
            f"{where}: token_per {head.token_per!r} without use_map: expected {head.tokens} tokens under "
            f"readout_key {head.readout_key!r}, got {tokens}"
        )


def _check_head(config: OctoConfig, where: str) -> None:
    head = config.head
    if head.action_dim != len(ACTION_AXES):
        raise CheckpointError(
            f"{where}: action_dim: expected {len(ACTION_AXES)} ({', '.join(ACTION_AXES)}), "
            f"got {head.action_dim}"
        )
    if isinstance(head, UNetHead):
        _check_unet(head, where)
    elif head.use_map:
        _check_pooling(config.token_embedding_size, "token_embedding_size", f"{where}: use_map")
    if isinstance(head, (ContinuousHead, DiffusionHead)) and head.max_action <= 0:
        raise CheckpointError(f"{where}: max_action: expected a positive number, got {head.max_action}")
    if isinstance(head, DiffusionHead) and head.time_dim < 2:
        raise CheckpointError(f"{where}: time_dim: expected at least 2, got {head.time_dim}")
    if isinstance(head, DiscreteHead):
        _check_among(head.token_per, _TOKEN_PER, f"{where}: token_per")
        _check_among(head.normalization_type, _BIN_TYPES, f"{where}: normalization_type")
        readout = head.readout_key.removeprefix("readout_")
        if head.readout_key.startswith("readout_") and readout in config.readouts:
            check_tokens(head, config.readouts[readout], where)


def _check_unet(head: UNetHead, where: str) -> None:
    if head.use_map:
        raise CheckpointError(
            f"{where}: use_map: expected false, for {head.name} has no attention pooling; "
            "got true, which is also what it counts as where it is left out"
        )
    multiple = 2**UNET_HALVINGS
    if head.action_horizon % multiple:
        raise CheckpointError(
            f"{where}: action_horizon: expected a multiple of {multiple}, which the U-Net halves and doubles "
            f"{UNET_HALVINGS} times, got {head.action_horizon}"
        )
    _check_among(head.variance_type, _VARIANCE_TYPES, f"{where}: variance_type")
    if head.clip_sample is not None and head.clip_sample <= 0:
        raise CheckpointError(f"{where}: clip_sample: expected a positive number, got {head.clip_sample}")


def _check_images(tokenizer: ImageTokenizer, where: str) -> None:
    encoder = tokenizer.encoder
    if bool(tokenizer.task_film_keys) != encoder.use_film:
        raise CheckpointError(
            f"{where}: task_film_keys: expected some keys if and only if the encoder has use_film, "
            f"got {list(tokenizer.task_film_keys)} with use_film {encoder.use_film}"
        )
    if tokenizer.use_token_learner:
        _check_pooling(encoder.num_features, "the encoder's features", f"{where}: use_token_learner")
    _check_among(encoder.img_norm_type, ("default", "imagenet"), f"{where}.encoder: img_norm_type")
    if isinstance(encoder, SmallStem):
        if any(features % NORM_GROUPS for features in encoder.features):
            raise CheckpointError(
                f"{where}.encoder: features: expected multiples of {NORM_GROUPS}, got {encoder.features}"
            )
        if encoder.patch_size < STEM_PATCH:
            raise CheckpointError(
                f"{where}.encoder: patch_size: expected {STEM_PATCH} or more, got {encoder.patch_size}"
            )
    if isinstance(encoder, Resnet) and (encoder.root_features < 1 or encoder.root_features % NORM_GROUPS):
        raise CheckpointError(
            f"{where}.encoder: width: expected 64 * width to be a multiple of {NORM_GROUPS}, "
            f"got width {encoder.width}"
        )


def _check_values(tokenizer: LowdimTokenizer, where: str) -> None:
    _check_among(tokenizer.bin_type, _BIN_TYPES, f"{where}: bin_type")
    if tokenizer.low >= tokenizer.high:
        raise CheckpointError(
            f"{where}: low: expected less than high = {tokenizer.high}, got {tokenizer.low}"
        )


def _check_pooling(width: int, name: str, where: str) -> None:
    if width % POOLING_HEADS:
        raise CheckpointError(f"{where}: expected {name} to be a multiple of {POOLING_HEADS}, got {width}")


def _check_among(value: str, known: tuple[str, ...], where: str) -> None:
    if value not in known:
        raise CheckpointError(f"{where}: expected one of {', '.join(map(repr, known))}, got {value!r}")
