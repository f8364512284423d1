"""What refuses to start or to configure the policy node, and how it says so."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from node_cell import (
    CLEANUP,
    CONFIGURE,
    UNCONFIGURED,
    processes,
)

from octo_ros.nodes.policy_parameters import PARAMETERS

POLICY = "policy_node"
DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}


@pytest.fixture(scope="module")
def unconfigured(cell, bundle, logs):
    """A node that a test tries to configure with a mistake; started when the shared one has ended."""
    with processes(logs, policy_node={"bundle": bundle}) as started:
        yield started[POLICY]


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ({"bundle": "/nowhere"}, "not an octo_ros bundle"),
        ({"bundle": ""}, "bundle: expected"),
        ({"cameras": ["overhead"]}, "it has primary, wrist"),
        ({"dataset": "fractal"}, "it has small"),
        ({"backend": "openvino"}, "backend: expected one of onnxruntime"),
        ({"backend": "tensorrt"}, "precision: backend tensorrt needs one of"),
        ({"precision": "fp16"}, "expected no precision"),
        ({"execution": "greedy"}, "execution"),
        ({"execution": "receding", "execute": 9}, "execute"),
        ({"instruction": "go"}, "tokenizer"),
    ],
)
def test_a_mistake_refuses_to_configure_and_can_be_corrected(cell, bundle, unconfigured, mistake, expected):
    right = {**DEFAULTS, "bundle": str(bundle)}
    printed = len(unconfigured.output())
    assert cell.set(POLICY, **{**right, **mistake}) == ""
    assert not cell.change(POLICY, CONFIGURE)
    assert cell.state(POLICY) == UNCONFIGURED
    assert expected in unconfigured.output()[printed:].split("cannot configure:")[1]
    assert cell.set(POLICY, **right) == ""
    assert cell.change(POLICY, CONFIGURE)
    assert cell.change(POLICY, CLEANUP)
    assert "Traceback" not in unconfigured.output()


def test_the_unconfigured_node_ends_in_order(unconfigured):
    assert unconfigured.stop() == 0


@pytest.mark.parametrize("given", [{"rate_hz": "fast"}, {"seed": -5}])
def test_a_parameter_out_of_range_ends_the_process_with_one_line(logs, bundle, given):
    with processes(logs, policy_node={"bundle": bundle, **given}) as started:
        assert started[POLICY].wait(10.0) == 1
        assert f"error: {next(iter(given))}: " in started[POLICY].output()
        assert "Traceback" not in started[POLICY].output()
