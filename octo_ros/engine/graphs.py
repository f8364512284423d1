"""What the graphs of a bundle take and give: one table, from which a manifest can be checked.

    language   token ids -> language tokens           when the instruction changes
    task       language tokens, goal images -> keys and values of the task's tokens, and what the
               image encoders need of goals           when the task changes
    history    tokens of the frames before -> keys and values of task and frames
                                                      when an action is out
    step       the newest frames -> actions           between a frame and its action
    policy     task and all frames -> actions         all at once, for callers that keep no state

A bundle has those its checkpoint calls for. "policy" is always there; "step" too in what `export`
writes, with "history" where the window is larger than 1, and "task" where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping

from octo_ros.engine.manifest import Manifest, Tensor
from octo_ros.errors import BundleError

LANGUAGE = "language"
TASK = "task"
HISTORY = "history"
STEP = "step"
POLICY = "policy"

TIMESTEP_MASK = "timestep_pad_mask"
TOKENS = "tokens"
TOKENS_SEEN = "tokens_seen"
NOISE_INIT = "noise_init"
NOISE_STEPS = "noise_steps"
NOISE_GUMBEL = "noise_gumbel"


def image_key(camera: str) -> str:
    """The name of a camera's frames in observations, and of its goal image in a task."""
    return f"image_{camera}"


def vector_key(name: str) -> str:
    """The name of the input for an array that a task brings as it is."""
    return f"task_{name}"


def language_inputs(manifest: Manifest) -> dict[str, Tensor]:
    """Inputs of the "language" graph: tokens of the instruction, and which of them are not padding."""
    shape = (1, manifest.language.max_tokens)
    return {"input_ids": Tensor("int64", shape), "attention_mask": Tensor("int64", shape)}


def observation_tensors(manifest: Manifest, timesteps: int) -> dict[str, Tensor]:
    """What sensors give of consecutive timesteps, with the masks of what is missing."""
    inputs = {}
    for name, camera in manifest.cameras.items():
        inputs[image_key(name)] = Tensor("uint8", (1, timesteps, camera.height, camera.width, 3))
        inputs[f"pad_mask_{image_key(name)}"] = Tensor("bool", (1, timesteps))
    if manifest.proprio_size is not None:
        inputs["proprio"] = Tensor("float32", (1, timesteps, manifest.proprio_size))
        inputs["pad_mask_proprio"] = Tensor("bool", (1, timesteps))
    return inputs


def noise_tensors(manifest: Manifest, timesteps: int) -> dict[str, Tensor]:
    """The head's random numbers, drawn outside the graphs; nothing for a head that takes none."""
    head, chunk = manifest.head, (1, timesteps, manifest.horizon * manifest.action_dim)
    tensors = {}
    if head.sampler != "none":
        tensors[NOISE_INIT] = Tensor("float32", chunk)
    if head.sampler == "ddpm":
        tensors[NOISE_STEPS] = Tensor("float32", (head.diffusion_steps, *chunk))
    if head.bins:
        shape = (1, timesteps, manifest.horizon, manifest.action_dim, head.bins)
        tensors[NOISE_GUMBEL] = Tensor("float32", shape)
    return tensors


def task_tensors(manifest: Manifest, text_width: int) -> dict[str, Tensor]:
    """What a task brings: language tokens, goal images, arrays.

    Args:
        manifest: of the bundle.
        text_width: width of a language token, from the "language" graph; unused without one.
    """
    inputs = {}
    for name, camera in manifest.cameras.items():
        if camera.takes_goal:
            inputs[f"goal_{image_key(name)}"] = Tensor("uint8", (1, camera.height, camera.width, 3))
    for name, shape in manifest.vectors.items():
        inputs[vector_key(name)] = Tensor("float32", (1, *shape))
    if manifest.language is not None:
        inputs["language_tokens"] = Tensor("float32", (1, manifest.language.max_tokens, text_width))
    if manifest.reads_instruction():
        inputs["pad_mask_language_instruction"] = Tensor("bool", (1,))
    return inputs


def policy_inputs(manifest: Manifest, text_width: int) -> dict[str, Tensor]:
    """Inputs of the "policy" graph; arguments as `task_tensors`."""
    return {
        TIMESTEP_MASK: Tensor("bool", (1, manifest.window)),
        **observation_tensors(manifest, manifest.window),
        **task_tensors(manifest, text_width),
        **noise_tensors(manifest, manifest.window),
    }


def check_graphs(manifest: Manifest, source: str) -> None:
    """Checks that the manifest's graphs are those its other fields call for.

    Args:
        manifest: as read.
        source: path of the bundle, for messages.

    Raises:
        BundleError: naming the graph and the input or output.
    """
    wanted = {POLICY} if manifest.language is None else {POLICY, LANGUAGE}
    stages = set(manifest.graphs) & {TASK, HISTORY, STEP}
    if stages:
        wanted |= {STEP} | ({HISTORY} if manifest.window > 1 else set()) | (stages & {TASK})
    if set(manifest.graphs) != wanted:
        raise BundleError(f"{source}: graphs: expected {sorted(wanted)}, got {sorted(manifest.graphs)}")
    text_width = 0
    if manifest.language is not None:
        text_width = _check_language(manifest, source)
    policy = manifest.graphs[POLICY]
    _same(f"{source}: graphs.policy.inputs", policy_inputs(manifest, text_width), policy.inputs)
    _check_actions(manifest, POLICY, source)
    if stages:
        _check_stages(manifest, text_width, source)


def _check_language(manifest: Manifest, source: str) -> int:
    """Width of a language token."""
    language = manifest.graphs[LANGUAGE]
    _same(f"{source}: graphs.language.inputs", language_inputs(manifest), language.inputs)
    tokens = language.outputs.get("language_tokens")
    if tokens is None or len(tokens.shape) != 3:
        raise BundleError(f"{source}: graphs.language.outputs.language_tokens: expected 3 axes, got {tokens}")
    expected = {"language_tokens": Tensor("float32", (1, manifest.language.max_tokens, tokens.shape[-1]))}
    _same(f"{source}: graphs.language.outputs", expected, language.outputs)
    return tokens.shape[-1]


def _check_actions(manifest: Manifest, graph: str, source: str) -> None:
    actions = {"actions": Tensor("float32", (1, manifest.horizon, manifest.action_dim))}
    given = {name: tensor for name, tensor in manifest.graphs[graph].outputs.items() if name in actions}
    _same(f"{source}: graphs.{graph}.outputs", actions, given)


def _check_stages(manifest: Manifest, text_width: int, source: str) -> None:
    """Each stage must find every input among what a caller gives it and what earlier stages gave."""
    given = task_tensors(manifest, text_width)
    if TASK in manifest.graphs:
        _found(f"{source}: graphs.task.inputs", manifest.graphs[TASK].inputs, given)
        given |= manifest.graphs[TASK].outputs
    if HISTORY in manifest.graphs:
        before, step = manifest.window - 1, manifest.graphs[STEP].outputs
        for name in (TOKENS, TOKENS_SEEN):
            if name not in step:
                raise BundleError(f"{source}: graphs.step.outputs.{name}: missing")
            given[name] = Tensor(step[name].dtype, (before, *step[name].shape))
        given[TIMESTEP_MASK] = Tensor("bool", (1, before))
        _found(f"{source}: graphs.history.inputs", manifest.graphs[HISTORY].inputs, given)
        given |= manifest.graphs[HISTORY].outputs
    else:
        given |= past_of_task(given)
    given |= observation_tensors(manifest, 1) | noise_tensors(manifest, 1)
    _found(f"{source}: graphs.step.inputs", manifest.graphs[STEP].inputs, given)
    _check_actions(manifest, STEP, source)


def past_of_task(outputs: Mapping[str, object]) -> dict[str, object]:
    """What "step" calls the past where nothing but the task comes before it: `task_x` as `past_x`."""
    return {
        f"past_{name.removeprefix('task_')}": value
        for name, value in outputs.items()
        if name.startswith(("task_keys_", "task_values_")) or name == "task_seen"
    }


def _found(where: str, inputs: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    _same(where, {name: given[name] for name in inputs if name in given}, inputs)


def _same(where: str, expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> None:
    for name in sorted(set(expected) | set(got)):
        if expected.get(name) != got.get(name):
            raise BundleError(
                f"{where}.{name}: expected {_shown(expected.get(name))}, got {_shown(got.get(name))}"
            )


def _shown(tensor: Tensor | None) -> str:
    return "nothing of that name" if tensor is None else f"{tensor.dtype} {tensor.shape}"
