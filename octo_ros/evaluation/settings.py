"""The settings of an ablation: what is changed of the cell and the two nodes, and what that shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from octo_ros.engine.manifest import Manifest
from octo_ros.errors import ParameterError
from octo_ros.resources import share_path
from octo_ros.safety.options import FilterOptions

NODES = ("policy", "safety", "cell")
"""What a setting may change."""

MAX_FRAME_AGE_S = 0.2
"""Default of policy_node's parameter of that name [s]."""


@dataclass(frozen=True)
class Setting:
    """Parameters in place of the defaults.

    Attributes:
        name: how tables call it.
        policy: parameters of policy_node.
        safety: parameters of safety_filter_node.
        cell: parameters of sim_cell_node.
        must_fail: whether a success under it would be the sign of a fault.
        least_window: window of a bundle that it says something of.
        least_horizon: the same of the chunk.
    """

    name: str
    policy: Mapping[str, object] = field(default_factory=dict)
    safety: Mapping[str, object] = field(default_factory=dict)
    cell: Mapping[str, object] = field(default_factory=dict)
    must_fail: bool = False
    least_window: int = 1
    least_horizon: int = 1

    def left_out(self, manifest: Manifest) -> str:
        """Why it says nothing of that bundle, "" where it does."""
        if manifest.window < self.least_window:
            return f"the bundle sees {manifest.window} frame at a time: it has no history"
        if manifest.horizon < self.least_horizon:
            return f"the bundle's chunks have {manifest.horizon} action: nothing overlaps"
        own = manifest.default_dataset or next(iter(manifest.statistics), None)
        if self.safety.get("dataset", "") == own:
            return f"{own} is what the bundle scales by"
        return ""


def late_pictures(delay_s: float) -> Setting:
    """Pictures that come later by `delay_s` [s]; neither node calls them stale for it."""
    return Setting(
        f"latency: pictures {delay_s * 1000:.0f} ms later",
        policy={"max_frame_age_s": round(MAX_FRAME_AGE_S + delay_s, 3)},
        safety={"max_action_age_s": round(FilterOptions.max_action_age_s + delay_s, 3)},
        cell={"image_delay_s": delay_s},
    )


AS_TRAINED = Setting("as trained")

ABLATIONS = (
    AS_TRAINED,
    Setting("no ensemble: each chunk's first action", policy={"execution": "receding"}, least_horizon=2),
    Setting(
        "no ensemble, no history: every frame is the first",
        policy={"execution": "receding", "history_gap_s": 0.001},
        least_window=2,
    ),
    late_pictures(0.1),
    late_pictures(0.3),
    Setting("wrong rate: deltas of 5 Hz data", policy={"data_rate_hz": 5.0}, safety={"data_rate_hz": 5.0}),
    Setting("wrong frame: actions in the tool's axes", safety={"action_frame": "tool"}, must_fail=True),
    Setting(
        "wrong statistics: those of BridgeData",
        safety={"bundle": share_path("demo/bundle"), "dataset": "bridge_dataset"},
        must_fail=True,
    ),
)
"""Rows of the table."""


def chosen(settings: tuple[Setting, ...], manifest: Manifest) -> tuple[list[Setting], dict[str, str]]:
    """Those that say something of a bundle, and the names of the others with the reason."""
    reasons = {setting.name: setting.left_out(manifest) for setting in settings}
    kept = [setting for setting in settings if not reasons[setting.name]]
    return kept, {name: reason for name, reason in reasons.items() if reason}


def changed(setting: Setting, changes: list[str]) -> Setting:
    """The setting with changes such as "policy.execution=receding" or "safety.max_tool_speed=0.1".

    Raises:
        ParameterError: a text that is not NODE.PARAMETER=VALUE.
    """
    nodes = {node: dict(getattr(setting, node)) for node in NODES}
    for change in changes:
        target, equals, value = change.partition("=")
        node, dot, parameter = target.partition(".")
        if not (equals and dot and parameter) or node not in nodes:
            raise ParameterError(
                f"--set: expected policy.PARAMETER=VALUE, safety.PARAMETER=VALUE or cell.PARAMETER=VALUE, "
                f"got {change!r}"
            )
        nodes[node][parameter] = value
    return replace(setting, name=", ".join([setting.name, *changes]), **nodes)
