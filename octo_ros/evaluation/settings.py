"""The settings of an ablation: what is changed of the two nodes, and what that shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from octo_ros.errors import ParameterError
from octo_ros.resources import share_path


@dataclass(frozen=True)
class Setting:
    """Parameters in place of the defaults.

    Attributes:
        name: how tables call it.
        policy: parameters of policy_node.
        safety: parameters of safety_filter_node.
    """

    name: str
    policy: Mapping[str, object] = field(default_factory=dict)
    safety: Mapping[str, object] = field(default_factory=dict)


AS_TRAINED = Setting("as trained")

ABLATIONS = (
    AS_TRAINED,
    Setting("no ensemble: each chunk's first action", policy={"execution": "receding"}),
    Setting("no history: every frame is the first", policy={"history_gap_s": 0.001}),
    Setting("wrong frame: actions in the tool's axes", safety={"action_frame": "tool"}),
    Setting(
        "wrong statistics: those of BridgeData",
        safety={"bundle": share_path("demo/bundle"), "dataset": "bridge_dataset"},
    ),
    Setting("wrong rate: deltas of 5 Hz data", policy={"data_rate_hz": 5.0}, safety={"data_rate_hz": 5.0}),
)
"""Rows of the table; the last three must fail, visibly."""


def changed(setting: Setting, changes: list[str]) -> Setting:
    """The setting with changes such as "policy.execution=receding" or "safety.max_tool_speed=0.1".

    Raises:
        ParameterError: a text that is not NODE.PARAMETER=VALUE.
    """
    nodes = {"policy": dict(setting.policy), "safety": dict(setting.safety)}
    for change in changes:
        target, equals, value = change.partition("=")
        node, dot, parameter = target.partition(".")
        if not (equals and dot and parameter) or node not in nodes:
            raise ParameterError(
                f"--set: expected policy.PARAMETER=VALUE or safety.PARAMETER=VALUE, got {change!r}"
            )
        nodes[node][parameter] = value
    name = ", ".join([setting.name, *changes]) if changes else setting.name
    return Setting(name, nodes["policy"], nodes["safety"])
