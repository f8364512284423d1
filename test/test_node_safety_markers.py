"""The markers of workspace, zones, obstacles, targets and violated limits: where they are, without DDS."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("visualization_msgs", reason="ROS 2's visualization_msgs is not installed")

from visualization_msgs.msg import Marker

from octo_ros.nodes.safety_markers import SafetyMarkers
from octo_ros.resources import robot_urdf
from octo_ros.safety.decision import Refusal, ToolDelta
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

DECLARED = """
  <zone link="fr3_link4"><box min="-0.5 -0.5 0.1" max="0.5 0.5 1.2"/></zone>
  <obstacle name="table">
    <origin xyz="0.5 0 -0.1" rpy="0 0 1.5708"/><geometry><box size="1 0.8 0.1"/></geometry>
  </obstacle>
  <obstacle name="post">
    <origin xyz="0.2 0.6 0.3"/><geometry><capsule radius="0.05" length="0.6"/></geometry>
  </obstacle>
  <obstacle name="ball"><origin xyz="0.2 -0.6 0.3"/><geometry><sphere radius="0.1"/></geometry></obstacle>
</octo_safety>"""
NOW_NS = 10**12


@pytest.fixture(scope="module")
def urdf():
    return robot_urdf("fr3").read_text(encoding="utf-8").replace("</octo_safety>", DECLARED)


@pytest.fixture(scope="module")
def robot(urdf):
    return Robot.from_urdf(urdf, source="test")


@pytest.fixture
def safety(robot):
    """A filter whose arm has been asked upwards once."""
    safety = SafetyFilter(robot, FilterOptions(workspace_max=(0.7, 0.4, 0.7)))
    for i in range(2):
        now_ns = NOW_NS + i * 100_000_000
        safety.observe_joints(robot.joint_names, robot.home, now_ns, now_ns)
        safety.step(ToolDelta(now_ns, np.array([0.0, 0.0, 0.02]), np.zeros(3), 1.0), now_ns)
    return safety


@pytest.fixture
def draw(robot, urdf, safety):
    """The markers by namespace, with some limits violated."""
    scene = SafetyMarkers(robot, urdf)

    def draw(*limits, of=safety):
        array = scene.array(of, "limited", [Refusal(name, 0.0, bound, "m") for name, bound in limits])
        found: dict[str, list[Marker]] = {}
        for marker in array.markers:
            found.setdefault(marker.ns, []).append(marker)
        return found

    return draw


def at(marker: Marker) -> np.ndarray:
    position = marker.pose.position
    return np.array([position.x, position.y, position.z])


def points(marker: Marker) -> np.ndarray:
    return np.array([[point.x, point.y, point.z] for point in marker.points])


def test_markers_are_in_the_workspace_frame_numbered_and_vanish_by_themselves(draw, robot):
    markers = [marker for group in draw(("tool speed", 0.2)).values() for marker in group]
    assert {marker.header.frame_id for marker in markers} == {robot.workspace.frame}
    assert len({(marker.ns, marker.id) for marker in markers}) == len(markers)
    assert all(marker.lifetime.sec == 1 and marker.action == Marker.ADD for marker in markers)
    quaternions = [marker.pose.orientation for marker in markers]
    np.testing.assert_allclose([q.x**2 + q.y**2 + q.z**2 + q.w**2 for q in quaternions], 1.0)


def test_the_workspace_is_drawn_as_declared_and_as_kept(draw, robot):
    found = draw()
    for namespace, low, high in (
        ("workspace", robot.workspace.minimum, robot.workspace.maximum),
        ("kept", robot.workspace.minimum + 0.005, np.array([0.695, 0.395, 0.695])),
    ):
        (edges,) = found[namespace]
        ends = points(edges).reshape(12, 2, 3)
        assert edges.type == Marker.LINE_LIST
        np.testing.assert_allclose(ends.min(axis=(0, 1)), low)
        np.testing.assert_allclose(ends.max(axis=(0, 1)), high)
        assert ((ends[:, 0] != ends[:, 1]).sum(axis=1) == 1).all()  # each edge along one axis
        assert len({tuple(np.sort(edge, axis=0).ravel()) for edge in ends}) == 12


def test_a_zone_is_drawn_with_the_link_it_is_for(draw, robot, safety):
    edges, link = draw()["zone"]
    np.testing.assert_allclose(points(edges).max(axis=0), [0.495, 0.495, 1.195])
    np.testing.assert_allclose(at(link), robot.link_position(safety.commanded, "fr3_link4"))


def test_obstacles_have_their_shape_and_place(draw):
    table, post, top, bottom, ball = draw()["obstacle"]
    assert (table.type, table.scale.x, table.scale.y, table.scale.z) == (Marker.CUBE, 1.0, 0.8, 0.1)
    np.testing.assert_allclose(at(table), [0.5, 0.0, -0.1])
    assert table.pose.orientation.z == pytest.approx(np.sqrt(0.5), abs=1e-4)
    assert (post.type, post.scale.x, post.scale.z) == (Marker.CYLINDER, 0.1, 0.6)
    np.testing.assert_allclose(sorted([at(top)[2], at(bottom)[2]]), [0.0, 0.6], atol=1e-12)
    assert (ball.type, ball.scale.x) == (Marker.SPHERE, 0.2)


def test_what_was_asked_for_and_where_the_tool_goes_are_poses(draw, safety):
    found = draw()
    for namespace, pose in (("asked", safety.asked), ("target", safety.target)):
        dot, axes = found[namespace]
        np.testing.assert_allclose(at(dot), pose.position)
        ends = points(axes).reshape(3, 2, 3)
        np.testing.assert_allclose(ends[:, 0], np.tile(pose.position, (3, 1)))
        directions = (ends[:, 1] - ends[:, 0]) / np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)[:, None]
        np.testing.assert_allclose(directions, pose.rotation.T, atol=1e-9)
    assert at(found["asked"][0])[2] > at(found["target"][0])[2]


@pytest.mark.parametrize(
    ("limit", "bound", "axis", "value"),
    [
        ("workspace x in fr3_link0", 0.695, 0, 0.695),
        ("workspace x in fr3_link0", 0.256, 0, 0.255),
        ("workspace z in fr3_link0", 0.694, 2, 0.695),
        ("zone y of fr3_link4", -0.49, 1, -0.495),
    ],
)
def test_a_wall_that_was_met_is_red(draw, limit, bound, axis, value):
    (wall,) = draw((limit, bound))["violated"]
    assert wall.type == Marker.CUBE
    assert wall.color.r > wall.color.g
    assert at(wall)[axis] == pytest.approx(value)
    size = np.array([wall.scale.x, wall.scale.y, wall.scale.z])
    assert size[axis] < 0.01 and np.delete(size, axis).min() > 0.3


def test_a_joint_that_met_its_limit_is_marked(draw, robot, safety):
    for limit in ("joint position fr3_joint4", "joint velocity fr3_joint4", "tracking error fr3_joint4"):
        (joint,) = draw((limit, 1.0))["violated"]
        np.testing.assert_allclose(at(joint), robot.link_position(safety.commanded, "fr3_link4"))


def test_a_pair_that_came_too_close_is_joined(draw, robot, safety):
    line, *_ = draw(("clearance fr3_link5 - fr3_link0", 0.02))["violated"]
    links = [robot.link_position(safety.commanded, link) for link in ("fr3_link5", "fr3_link0")]
    np.testing.assert_allclose(points(line), links)
    line, *_ = draw(("clearance fr3_hand - obstacle table", 0.02))["violated"]
    np.testing.assert_allclose(points(line)[1], [0.5, 0.0, -0.1])


def test_a_limit_that_is_nowhere_is_only_said(draw):
    found = draw(("time since the last accepted action", 0.3), ("workspace", 1.0), ("", 1.0))
    assert "violated" not in found
    assert found["state"][0].text == "limited"


def test_before_the_first_action_there_is_only_the_scene(draw, robot):
    found = draw(("joint position fr3_joint4", 1.0), of=SafetyFilter(robot))
    assert set(found) == {"workspace", "kept", "zone", "obstacle", "state"}
