"""What the graphs of a bundle take and give: one table, from which a manifest can be checked.

A policy graph has exactly the inputs that its checkpoint calls for; this says which.
"""

from __future__ import annotations

from collections.abc import Mapping

from octo_ros.engine.bundle import Manifest, Tensor
from octo_ros.errors import BundleError

POLICY = "policy"
LANGUAGE = "language"


def image_key(camera: str) -> str:
    """The name of a camera's frames in observations, and of its goal image in a task."""
    return f"image_{camera}"


def language_inputs(manifest: Manifest) -> dict[str, Tensor]:
    """Inputs of the "language" graph: tokens of the instruction, and which of them are not padding."""
    shape = (1, manifest.language.max_tokens)
    return {"input_ids": Tensor("int64", shape), "attention_mask": Tensor("int64", shape)}


def policy_inputs(manifest: Manifest, text_width: int) -> dict[str, Tensor]:
    """Inputs of the "policy" graph.

    Args:
        manifest: of the bundle.
        text_width: width of a language token, from the "language" graph; unused without one.
    """
    window = manifest.window
    inputs = {"timestep_pad_mask": Tensor("bool", (1, window))}
    for name, camera in manifest.cameras.items():
        frame = (camera.height, camera.width, 3)
        inputs[image_key(name)] = Tensor("uint8", (1, window, *frame))
        inputs[f"pad_mask_{image_key(name)}"] = Tensor("bool", (1, window))
        if camera.takes_goal:
            inputs[f"goal_{image_key(name)}"] = Tensor("uint8", (1, *frame))
    if manifest.proprio_size is not None:
        inputs["proprio"] = Tensor("float32", (1, window, manifest.proprio_size))
        inputs["pad_mask_proprio"] = Tensor("bool", (1, window))
    if manifest.language is not None:
        inputs["language_tokens"] = Tensor("float32", (1, manifest.language.max_tokens, text_width))
        inputs["pad_mask_language_instruction"] = Tensor("bool", (1,))
    if manifest.head.diffusion_steps > 0:
        chunk = (1, window, manifest.horizon * manifest.action_dim)
        inputs["noise_init"] = Tensor("float32", chunk)
        inputs["noise_steps"] = Tensor("float32", (manifest.head.diffusion_steps, *chunk))
    return inputs


def check_graphs(manifest: Manifest, source: str) -> None:
    """Checks that the manifest's graphs are those its other fields call for.

    Args:
        manifest: as read.
        source: path of the bundle, for messages.

    Raises:
        BundleError: naming the graph and the input or output.
    """
    wanted = {POLICY} if manifest.language is None else {POLICY, LANGUAGE}
    if set(manifest.graphs) != wanted:
        raise BundleError(f"{source}: graphs: expected {sorted(wanted)}, got {sorted(manifest.graphs)}")
    text_width = 0
    if manifest.language is not None:
        language = manifest.graphs[LANGUAGE]
        _same(f"{source}: graphs.language.inputs", language_inputs(manifest), language.inputs)
        tokens = language.outputs.get("language_tokens")
        if tokens is None or len(tokens.shape) != 3:
            raise BundleError(
                f"{source}: graphs.language.outputs.language_tokens: expected 3 axes, got {tokens}"
            )
        text_width = tokens.shape[-1]
        expected = {"language_tokens": Tensor("float32", (1, manifest.language.max_tokens, text_width))}
        _same(f"{source}: graphs.language.outputs", expected, language.outputs)
    policy = manifest.graphs[POLICY]
    _same(f"{source}: graphs.policy.inputs", policy_inputs(manifest, text_width), policy.inputs)
    actions = {"actions": Tensor("float32", (1, manifest.horizon, manifest.action_dim))}
    given = {name: tensor for name, tensor in policy.outputs.items() if name in actions}
    _same(f"{source}: graphs.policy.outputs", actions, given)


def _same(where: str, expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> None:
    for name in sorted(set(expected) | set(got)):
        if expected.get(name) != got.get(name):
            raise BundleError(
                f"{where}.{name}: expected {_shown(expected.get(name))}, got {_shown(got.get(name))}"
            )


def _shown(tensor: Tensor | None) -> str:
    return "nothing of that name" if tensor is None else f"{tensor.dtype} {tensor.shape}"
