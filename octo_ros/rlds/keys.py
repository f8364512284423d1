"""Which of a data set's features is which part of an episode; every data set has names of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from octo_ros.errors import ParameterError
from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.features import Features, Leaf

IMAGE = "image_"
"""What the name of a camera's feature begins with in the data sets written here and by Octo's users."""


@dataclass(frozen=True)
class Keys:
    """Features below "steps/"; what a data set lacks may be absent, but for the action and a camera.

    Attributes:
        images: camera to feature; None takes each picture "observation/image_X" as camera X.
        action: (7,) float.
        state: (k,) float, "" for none.
        instruction: text; "" for none.
    """

    images: Mapping[str, str] | None = None
    action: str = "action"
    state: str = "observation/state"
    instruction: str = "language_instruction"

    def with_names(self, names: Mapping[str, str]) -> Keys:
        """These keys with some replaced: "action", "state", "instruction", or a camera, to a feature.

        A feature without a folder is looked for in the observation if it is a camera's or the state.
        """
        parts = {name: value for name, value in names.items() if name in ("action", "instruction")}
        if "state" in names:
            parts["state"] = _in_observation(names["state"])
        cameras = {
            name: _in_observation(value)
            for name, value in names.items()
            if name not in ("action", "instruction", "state")
        }
        if any(not value for value in (*parts.values(), *cameras.values())):
            raise ParameterError(f"keys: expected the name of a feature for each, got {dict(names)}")
        return replace(self, **parts, images=cameras or self.images)


KNOWN = {"bridge_dataset": Keys(images={"primary": "observation/image_0"})}
"""Keys of data sets whose names differ, by the data set's name; image_0 is the one camera that all
episodes of BridgeData have."""


@dataclass(frozen=True)
class Chosen:
    """Full paths of the features that an episode is made of, all of them in the data set."""

    images: Mapping[str, str]
    action: str
    state: str | None
    instruction: str | None


def choose(features: Features, keys: Keys, where: str) -> Chosen:
    """Finds the features that `keys` name.

    Raises:
        DatasetError: no such feature, or one of another kind; the message lists those there are.
    """
    images = keys.images
    if images is None:
        start = f"steps/observation/{IMAGE}"
        images = {
            path[len(start) :]: path[len("steps/") :]
            for path, leaf in features.items()
            if leaf.kind == "image" and path.startswith(start)
        }
    if not images:
        raise DatasetError(
            f"{where}: no camera: no picture observation/{IMAGE}*; it has {_listed(features, 'image')}"
        )
    paths = {camera: _path(features, name, "image", camera, where) for camera, name in images.items()}
    action = _path(features, keys.action, "tensor", "action", where)
    state = _optional(features, keys.state, "tensor", "state", where, Keys.state)
    words = _optional(features, keys.instruction, "text", "instruction", where, Keys.instruction)
    return Chosen(paths, action, state, words)


def _in_observation(name: str) -> str:
    return name if not name or "/" in name else f"observation/{name}"


def _optional(features: Features, name: str, kind: str, part: str, where: str, default: str) -> str | None:
    """The path, None where nothing is asked for or the default is not there."""
    if not name or (name == default and f"steps/{name}" not in features):
        return None
    return _path(features, name, kind, part, where)


def _path(features: Features, name: str, kind: str, part: str, where: str) -> str:
    path = f"steps/{name}"
    leaf = features.get(path, Leaf("missing"))
    if leaf.kind != kind:
        raise DatasetError(
            f"{where}: {part}: expected a {kind} {path}, got {leaf.kind}; it has {_listed(features, kind)}"
        )
    return path


def _listed(features: Features, kind: str) -> str:
    return ", ".join(path for path, leaf in features.items() if leaf.kind == kind) or f"no {kind}"
