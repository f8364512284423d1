"""Errors of actions in metres and degrees, and the limits that a precision must keep."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
pytest.importorskip("rosbags", reason="rosbags is not installed (extra 'replay')")

from gpu_graphs import BAG, BUNDLE, POLICY, WRIST  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from transforms3d.axangles import axangle2mat  # noqa: E402
from transforms3d.euler import euler2mat, mat2euler  # noqa: E402

from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.engine.onnx import OnnxBackend  # noqa: E402
from octo_ros.errors import BundleError, ParameterError  # noqa: E402
from octo_ros.gpu.acceptance import Limits, action_error, compare_actions, rotation_angles  # noqa: E402
from octo_ros.gpu.calibration import random_calibration, read_calibration  # noqa: E402
from octo_ros.gpu.precision import FP16, INT8  # noqa: E402
from octo_ros.gpu.rounding import write_rounded  # noqa: E402
from octo_ros.gpu.typed import write_typed  # noqa: E402
from octo_ros.policy.normalization import action_statistics  # noqa: E402

ANGLES = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3).map(np.array)


@pytest.fixture(scope="module")
def manifest():
    return read_bundle(POLICY)


@pytest.fixture(scope="module")
def halves(manifest):
    """Frames to calibrate with, and others to judge by. The robot in them is not the one of training."""
    steps = read_calibration(BAG, POLICY, manifest, steps=16, names=WRIST, instruction="lift the red cube")
    return steps.split()


@pytest.mark.parametrize(
    ("precision", "least_m", "most_m", "most_deg"),
    [(FP16, 1e-7, 1e-4, 0.02), (INT8, 1e-5, 3e-3, 0.2)],
)
def test_a_trained_policy_in_each_precision(
    manifest, halves, tmp_path, precision, least_m, most_m, most_deg
) -> None:
    """Float16 with every rounding; bounds a few times what was measured on these frames."""
    typed, exact = tmp_path / "typed", tmp_path / "rounded"
    typed.mkdir()
    exact.mkdir()
    calibrate, judge = halves
    write_typed(POLICY, manifest, precision, typed, calibrate)
    write_rounded(typed, manifest, exact)
    statistics = action_statistics(manifest)
    with OnnxBackend(POLICY, manifest) as reference, OnnxBackend(exact, manifest) as candidate:
        error = action_error(reference, candidate, judge, statistics)
    assert error.actions == len(judge) * manifest.horizon
    assert least_m < error.translation_m.p99 < most_m, str(error)
    assert 0.0 < math.degrees(error.rotation_rad.p99) < most_deg, str(error)
    assert error.gripper_agreement == 1.0
    with pytest.raises(BundleError, match="translation"):
        error.check(Limits(p99_m=least_m))


def test_the_same_engine_has_no_error(manifest) -> None:
    """On a head that draws noise: it must be the same for both."""
    bundle = read_bundle(BUNDLE)
    steps = random_calibration(bundle, steps=3)
    with OnnxBackend(BUNDLE, bundle) as first, OnnxBackend(BUNDLE, bundle) as second:
        error = action_error(first, second, steps, action_statistics(bundle, "bridge_dataset"))
    assert error.translation_m.max == error.rotation_rad.max == 0.0
    assert (error.actions, error.gripper_agreement) == (12, 1.0)
    error.check(Limits())


def test_errors_are_in_metres_and_radians() -> None:
    expected = np.zeros((4, 7))
    got = expected.copy()
    got[0, :3] = 0.003, 0.0, 0.004
    got[1, 3:6] = 0.0, 0.02, 0.0
    expected[:, 6] = 0.6, 0.6, 0.2, 0.9
    got[:, 6] = 0.9, 0.4, 0.3, 0.51
    error = compare_actions(expected, got)
    assert error.translation_m.max == pytest.approx(0.005)
    assert error.rotation_rad.max == pytest.approx(0.02)
    assert error.translation_m.p50 == error.rotation_rad.p50 == 0.0
    assert error.gripper_agreement == 0.75
    assert error.to_dict()["rotation_max_deg"] == pytest.approx(math.degrees(0.02))
    assert error.to_dict()["translation_max_m"] == pytest.approx(0.005)


@given(ANGLES, ANGLES.filter(np.any), st.floats(1e-9, 3.0))
def test_the_angle_between_rotations_is_that_of_the_turn(angles, axis, turn) -> None:
    """A rotation, and the same one turned further about any axis."""
    turned = axangle2mat(axis / np.abs(axis).max(), turn) @ euler2mat(*angles, axes="sxyz")
    got = rotation_angles(angles[None], np.array([mat2euler(turned, axes="sxyz")]))[0]
    assert got == pytest.approx(turn, rel=1e-5, abs=1e-12)


@given(ANGLES, ANGLES)
def test_the_angle_between_rotations_is_symmetric_and_bounded(first, second) -> None:
    one, two = rotation_angles(first[None], second[None]), rotation_angles(second[None], first[None])
    assert one == pytest.approx(two)
    assert 0.0 <= one[0] <= np.abs(first - second).sum() + 1e-12
    assert rotation_angles(first[None], first[None])[0] == 0.0


def test_what_is_beyond_a_limit_is_said_with_both_numbers() -> None:
    got = np.zeros((2, 7))
    got[:, 0] = 0.0015
    got[:, 5] = math.radians(0.5)
    error = compare_actions(np.zeros((2, 7)), got)
    said = r"p99 of 2 actions: translation 1.5 mm, allowed 1; rotation 0.5 degrees, allowed 0.2"
    with pytest.raises(BundleError, match=said):
        error.check(Limits())
    with pytest.raises(BundleError, match="actions: rotation 0.5 degrees, allowed 0.4$"):
        error.check(Limits(p99_m=0.002, p99_deg=0.4))
    error.check(Limits(p99_m=0.002, p99_deg=0.6))


def test_no_number_keeps_no_limit() -> None:
    got = np.zeros((5, 7))
    got[3, 1] = np.nan
    error = compare_actions(np.zeros((5, 7)), got)
    with pytest.raises(BundleError, match="translation nan mm"):
        error.check(Limits())


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["p99_m", "p99_deg"])
def test_a_limit_is_a_positive_number(name, value) -> None:
    with pytest.raises(ParameterError, match=name):
        Limits(**{name: value})
