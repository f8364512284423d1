"""The simulated cell: its arm is the URDF's, it follows joint positions, its pictures show the cubes."""

from __future__ import annotations

import numpy as np
import pytest
from run_seed import SEED

pytest.importorskip("octo_ros.sim.scene", reason="robosuite is not installed (the extra 'sim')")

from octo_ros.errors import ParameterError
from octo_ros.sim.cell import CAMERAS, CONTROL_S, Cell
from octo_ros.sim.scene import CONTROL_HZ
from octo_ros.sim.state import RESTING_M, Cube


@pytest.fixture(scope="module", params=["panda", "ur5e"])
def cell(request):
    cell = Cell(request.param)
    yield cell
    cell.close()


@pytest.fixture(scope="module")
def picture_cell(cell):
    """The cell, where pictures can be rendered."""
    try:
        cell.images()
    except ParameterError as error:
        pytest.skip(str(error))
    return cell


def angle(one: np.ndarray, other: np.ndarray) -> float:
    """Between two rotations (3, 3) [rad]."""
    return float(2.0 * np.arcsin(min(np.linalg.norm(one - other) / np.sqrt(8.0), 1.0)))


def test_the_tool_is_where_the_urdf_has_it_in_every_posture(cell):
    random = np.random.default_rng(SEED)
    for _ in range(100):
        joints = random.uniform(cell.robot.lower, cell.robot.upper)
        state = cell.put_joints(joints)
        position, rotation = cell.robot.tool_pose(joints)
        assert np.linalg.norm(state.tool_position - position) < 1e-5
        assert angle(state.tool_rotation, rotation) < 1e-5


def test_joints_are_the_urdfs_in_name_order_and_limits(cell):
    model = cell._model
    names = cell._scene.robots[0].robot_model.arm_joints
    for name, urdf, low, high in zip(
        names, cell.robot.joint_names, cell.robot.lower, cell.robot.upper, strict=True
    ):
        suffix = urdf.removeprefix("panda_")
        assert name == f"robot0_{suffix}"
        np.testing.assert_allclose(model.joint(name).range, [low, high], atol=1e-4)


def test_the_grasp_point_is_between_the_fingertips(cell):
    state = cell.reset(SEED)
    tips = cell.arm.pads
    middle = np.mean([cell._data.geom(name).xpos for name in tips], axis=0)
    middle = cell._base.T @ (middle - cell._base_position)
    offset = state.tool_rotation.T @ (middle - state.grasp_position)
    assert np.abs(offset[:2]).max() < 0.003
    assert abs(offset[2]) < 0.03


def test_a_reset_is_the_seeds(cell):
    first = cell.reset(11)
    cell.advance(first.joints + 0.1, 0.0)
    again, other = cell.reset(11), cell.reset(12)
    np.testing.assert_array_equal(first.joints, again.joints)
    np.testing.assert_array_equal(first.cubes["red"].position, again.cubes["red"].position)
    assert np.abs(first.joints - other.joints).max() > 1e-3
    assert np.linalg.norm(first.cubes["red"].position - other.cubes["red"].position) > 1e-3
    assert again.time_ns == 0
    assert again.opening > 0.9


def test_the_start_is_within_the_workspace_with_cubes_at_rest_on_the_table(cell):
    box = cell.robot.workspace
    for seed in range(10):
        state = cell.reset(seed)
        assert (box.minimum + 0.01 < state.tool_position).all()
        assert (state.tool_position < box.maximum - 0.01).all()
        assert np.abs(state.joints - cell.robot.home).max() < 0.07
        assert np.abs(state.joint_velocities).max() < 1e-2
        for cube in state.cubes.values():
            assert cube.position[2] == pytest.approx(RESTING_M, abs=1e-3)


def test_joints_follow_their_command_late_but_truly(cell):
    state = cell.reset(0)
    target = state.joints.copy()
    for _ in range(50):  # each joint at 0.4 rad/s
        target = target + 0.4 * CONTROL_S
        cell.advance(target, None)
    assert np.abs(cell.state().joints - target).max() < 0.04
    for _ in range(50):
        cell.advance(None, None)
    assert np.abs(cell.state().joints - target).max() < 0.005
    assert cell.time_ns == 1_000_000_000


def test_the_servo_does_what_robosuites_own_controller_does(cell):
    times = np.arange(60)
    sway = 0.15 * np.sin(times / 10.0)[:, None] * np.linspace(1.0, -1.0, len(cell.robot.joint_names))

    def run(step) -> np.ndarray:
        home = cell.reset(1).joints
        robot = cell._scene.robots[0]
        robot.gripper["right"].current_action = np.array(cell.arm.open_action)
        robot.part_controllers["right"].update(force=True)  # it has not seen the reset
        joints = []
        for row in sway:
            step(home + row)
            joints.append(cell.state().joints)
        return np.array(joints)

    ours = run(lambda joints: cell.advance(joints, None))
    theirs = run(lambda joints: cell._scene.step(np.append(joints, 0.0)))
    assert np.abs(np.diff(ours, axis=0)).max() > 0.005
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_the_gripper_opens_and_closes_as_far_as_it_is_told(cell):
    cell.reset(0)
    measured = []
    for opening in (0.0, 0.5, 1.0):
        for _ in range(100):
            cell.advance(None, opening)
        measured.append(cell.state().opening)
    np.testing.assert_allclose(measured, [0.0, 0.5, 1.0], atol=0.1)


@pytest.mark.parametrize(
    ("joints", "opening", "expected"),
    [([0.0], None, "finite positions"), (None, float("nan"), "opening")],
)
def test_a_command_that_is_none_is_refused(cell, joints, opening, expected):
    with pytest.raises(ParameterError, match=expected):
        cell.advance(None if joints is None else np.array(joints), opening)


@pytest.mark.parametrize(
    "mistake", [{"primary": 4}, {"wrist": 9999}, {"start_noise": -0.1}, {"robot": "fr3"}]
)
def test_a_mistake_names_its_option(mistake):
    with pytest.raises(ParameterError, match=next(iter(mistake))):
        Cell(**mistake)


def test_time_and_rates_agree():
    assert round(CONTROL_S * CONTROL_HZ, 9) == 1.0


def colored(image: np.ndarray, color: str) -> np.ndarray:
    """(H, W) which pixels are clearly of a colour."""
    rgb = image.astype(int)
    channel = ("red", "green", "blue").index(color)
    return rgb[..., channel] - np.delete(rgb, channel, axis=2).max(axis=2) > 60


def middle(image: np.ndarray, color: str) -> np.ndarray:
    """(2,) row and column of the middle of a colour [pixel]."""
    return np.mean(np.nonzero(colored(image, color)), axis=1)


def test_pictures_are_rgb_of_the_size_asked_for_and_show_every_cube(picture_cell):
    for seed in range(6):
        picture_cell.reset(seed)
        images = picture_cell.images()
        assert list(images) == list(CAMERAS)
        assert images["primary"].shape == (256, 256, 3)
        assert images["wrist"].shape == (128, 128, 3)
        assert images["primary"].dtype == np.uint8
        for color in ("red", "green", "blue"):
            assert colored(images["primary"], color).mean() > 0.001, (seed, color)


def test_the_primary_picture_is_upright_and_not_mirrored(picture_cell):
    """Seen from the front, the robot's left (+y) is on the right, and what is nearer the camera is lower."""
    picture_cell.reset(0)
    picture_cell.place("red", Cube(np.array([0.42, 0.0, RESTING_M]), 0.0))
    picture_cell.place("green", Cube(np.array([0.58, 0.0, RESTING_M]), 0.0))
    picture_cell.place("blue", Cube(np.array([0.50, 0.16, RESTING_M]), 0.0))
    rgb = picture_cell.images()["primary"].astype(float)
    total = rgb.sum(axis=2) + 1.0
    row, column = zip(
        *(np.mean(np.nonzero(rgb[..., i] > 0.7 * total), axis=1) for i in range(3)), strict=True
    )
    assert row[1] > row[0]
    assert column[2] > column[0]
    assert column[2] > column[1]


def test_the_wrist_camera_sees_the_cube_that_the_gripper_comes_down_on(picture_cell):
    state = picture_cell.reset(0)
    picture_cell.place("red", Cube(np.array([0.50, -0.16, RESTING_M]), 0.0))
    picture_cell.place("blue", Cube(np.array([0.45, 0.16, RESTING_M]), 0.0))
    for ahead in (0.0, 0.04):
        place = state.grasp_position + state.tool_rotation @ [ahead, 0.0, 0.0]
        picture_cell.place("green", Cube(np.array([place[0], place[1], RESTING_M]), 0.0))
        picture = picture_cell.images()["wrist"]
        assert colored(picture, "green").mean() > 0.003, ahead


def test_the_focal_length_is_that_of_the_picture(picture_cell):
    """A point ahead of the primary camera is where its pinhole has it."""
    from octo_ros.sim.scene import PRIMARY_AT, PRIMARY_TO

    picture_cell.reset(0)
    spot = np.array([0.55, 0.10, RESTING_M])
    picture_cell.place("red", Cube(spot, 0.0))
    picture_cell.place("green", Cube(np.array([0.40, -0.15, RESTING_M]), 0.0))
    at, ahead = np.array(PRIMARY_AT), np.subtract(PRIMARY_TO, PRIMARY_AT)
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down, way, focal = np.cross(ahead, right), spot - at, picture_cell.cameras.focal_length("primary")
    expected = 128.0 + focal * np.array([way @ right, way @ down]) / (way @ ahead)
    row, column = middle(picture_cell.images()["primary"], "red")
    np.testing.assert_allclose([column, row], expected, atol=3.0)
