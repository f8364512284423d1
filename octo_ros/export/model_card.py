"""The model card: README.md of a bundle, written from its manifest alone, so without a date."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from octo_ros.engine.bundle import MANIFEST, describe_file
from octo_ros.engine.manifest import Head, Manifest
from octo_ros.export.data_sets import NOT_STATED, data_sets, of_pretraining

MODEL_CARD = "README.md"

_WHAT = """\
A checkpoint of the robot policy [Octo](https://octo-models.github.io) as an engine bundle of octo_ros: ONNX
graphs, their weights, and `manifest.json`, which says everything below to a program.
"""

_LOAD = """\
```python
import octo_ros

policy = octo_ros.load_policy("path/of/this/folder"{dataset})
{task}
action = policy.act(octo_ros.Observation(stamp_ns, {{{frames}}}))
```

or on a robot `ros2 launch octo_ros octo.launch.py bundle:=path/of/this/folder ...`. Reading checks every file
against the SHA-256 in `manifest.json`.
"""

_CHECKS = """\
Largest absolute differences, measured when the bundle was written: on the checkpoint's example batch, and of
the staged graphs over a made-up episode. Actions are normalized ones; those that saturate do not count.
"""

_PRETRAINING = """\
Of these, {names} are data of Octo's pre-training or of Open X-Embodiment. **Some of Octo's pre-training data
are licensed for non-commercial use only. Check the licence of each data set yourself before you use these
weights**; the licence of the weights does not replace it.
"""

_LINEAGE = """\
The list is what the checkpoint's statistics name. Of a fine-tuned checkpoint that is the data of its
fine-tuning alone: data of its pre-training stand behind it, unlisted.
"""


def complete(folder: Path, manifest: Manifest) -> Manifest:
    """Writes model card and manifest into a folder that is otherwise complete; the manifest as written."""
    paths = [path for path in sorted(folder.iterdir()) if path.name not in (MODEL_CARD, MANIFEST)]
    files = {path.name: describe_file(path) for path in paths}
    card = model_card(dataclasses.replace(manifest, files=files))
    (folder / MODEL_CARD).write_text(card, encoding="utf-8")
    files[MODEL_CARD] = describe_file(folder / MODEL_CARD)
    manifest = dataclasses.replace(manifest, files=dict(sorted(files.items())))
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def model_card(manifest: Manifest) -> str:
    """The card's text.

    Args:
        manifest: of the bundle, its files listed as far as they are written.
    """
    checkpoint = manifest.checkpoint
    blocks = [
        f"# {_plain(checkpoint['name'])}, step {checkpoint.get('step', NOT_STATED)}",
        _WHAT,
    ]
    if manifest.notice:
        blocks.append(f"> **{_plain(manifest.notice)}**")
    blocks += ["## What it is", _table(("", ""), _facts(manifest).items())]
    blocks += ["## Cameras", _cameras(manifest)]
    blocks += ["## How to load it", _load(manifest)]
    blocks += ["## Measured errors", _CHECKS.strip(), _errors(manifest.checks)]
    blocks += ["## Licence and data", *_data(manifest)]
    blocks += [
        "## Files",
        _table(("file", "bytes"), [(name, entry["bytes"]) for name, entry in manifest.files.items()]),
        "Written by " + ", ".join(f"{name} {version}" for name, version in manifest.versions.items()) + ".",
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def _facts(manifest: Manifest) -> dict[str, str]:
    language = manifest.language
    instruction = "none"
    if language is not None:
        where = f"`{language.tokenizer_file}`" if language.tokenizer_file else "not in the bundle"
        instruction = f"up to {language.max_tokens} tokens of {language.tokenizer_name}; tokenizer {where}"
    elif manifest.reads_instruction():
        instruction = "encoded elsewhere, as an array"
    vectors = [f"{name} {shape}" for name, shape in manifest.vectors.items()]
    return {
        **_sizes(manifest.checkpoint),
        "precision": manifest.precision,
        "window": f"{manifest.window} timesteps, the newest one included",
        "horizon": f"{manifest.horizon} actions of {manifest.action_dim} values",
        "head": _head(manifest.head),
        "instruction": instruction,
        "arrays of a task": ", ".join(vectors) or "none",
        "proprioception": f"{manifest.proprio_size} values" if manifest.proprio_size else "none",
        "graphs": ", ".join(manifest.graphs),
    }


def _sizes(checkpoint: Mapping[str, Any]) -> dict[str, str]:
    """What the manifest says of the checkpoint; one that `export` did not write may say less."""
    facts = {"source": str(checkpoint.get("source", NOT_STATED))}
    if "parameters" in checkpoint:
        encoder = checkpoint.get("language_parameters", 0)
        own = f"{checkpoint['parameters'] - encoder:,}"
        facts["parameters"] = f"{own}, and {encoder:,} of the language encoder" if encoder else own
    if trunk := checkpoint.get("transformer"):
        facts["transformer"] = (
            f"{trunk['width']} wide, {trunk['layers']} layers, {trunk['heads']} heads, MLP {trunk['mlp']}"
        )
    return facts


def _head(head: Head) -> str:
    steps = f", sampler {head.sampler} in {head.diffusion_steps} steps" if head.diffusion_steps else ""
    bins = f", {head.bins} bins" if head.bins else ""
    bound = "" if head.max_action is None else f", normalized actions within ±{head.max_action:g}"
    return f"{head.kind}{steps}{bins}{bound}"


def _cameras(manifest: Manifest) -> str:
    rows = [
        (
            name,
            f"{camera.height} x {camera.width}",
            "yes" if camera.takes_goal else "no",
            "centre, 0.9 of the area" if camera.center_crop else "none",
        )
        for name, camera in manifest.cameras.items()
    ]
    return _table(("camera", "rows x columns [pixel]", "takes a goal image", "crop"), rows)


def _load(manifest: Manifest) -> str:
    names = list(manifest.statistics)
    named = manifest.default_dataset is None and len(names) > 1
    option = f", options=octo_ros.ActOptions(dataset={names[0]!r})" if named else ""
    words = manifest.language is not None
    task = (
        'policy.set_task(octo_ros.Task("put the carrot on the plate"))' if words else "policy.set_task(task)"
    )
    frames = ", ".join(f'"{name}": {name}' for name in manifest.cameras)
    return _LOAD.format(dataset=option, task=task, frames=frames)


def _errors(checks: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        (compared, output, f"{error:.1e}")
        for compared, errors in checks.items()
        for output, error in errors.items()
    ]
    return _table(("compared", "output", "largest error"), rows) if rows else "None were measured."


def _data(manifest: Manifest) -> list[str]:
    sets = manifest.checkpoint.get("datasets") or data_sets(manifest.statistics)
    rows = [
        (name, *(NOT_STATED if count is None else f"{count:,}" for count in counts.values()))
        for name, counts in sets.items()
    ]
    blocks = [
        f"Licence of the weights: **{_plain(manifest.checkpoint.get('license', NOT_STATED))}**.",
        _table(("data set", "trajectories", "transitions"), rows),
    ]
    if known := of_pretraining(sets):
        blocks.append(_PRETRAINING.format(names=", ".join(map(_plain, known))))
    return [*blocks, _LINEAGE]


def _table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(value: Any) -> str:
    """A value on one line, without what would end a table's cell."""
    return " ".join(str(value).split()).replace("|", "\\|")
