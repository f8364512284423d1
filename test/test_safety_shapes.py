"""Shapes of the URDF, strictly, and meshes wherever a robot description keeps them."""

from __future__ import annotations

import numpy as np
import pinocchio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_urdf import arm, joint, shape, sphere

from octo_ros.errors import RobotModelError
from octo_ros.safety.robot import Robot
from octo_ros.safety.urdf import origin_pose, parse_robot

FIXED = settings(derandomize=True, deadline=None, max_examples=100)
POST = sphere(0.1, holder='obstacle name="post"')
CORNERS = [(x, y, z) for x in (-0.1, 0.1) for y in (-0.2, 0.2) for z in (-0.3, 0.3)]
FLAT = [(x, y, 0.0) for x in (-0.1, 0.1) for y in (-0.2, 0.2)]


def text(inside: str, **parts: object) -> str:
    """An arm of one sliding joint, whose link holds `inside`, and a ball of 0.1 m at the origin."""
    slide = joint("slide", kind="prismatic", axis="1 0 0", lower=-2, upper=2)
    return arm(slide, shapes={"link1": inside}, safety=POST, **parts)


def mesh(address: object, scale: str = "1 1 1") -> str:
    return shape(f'<mesh filename="{address}" scale="{scale}"/>')


def stl(corners: list[tuple[float, float, float]]) -> str:
    """A mesh with all these corners, as text."""
    facets = []
    for index in range(len(corners)):
        three = (corners[(index + step) % len(corners)] for step in range(3))
        vertices = "\n".join(f"vertex {x} {y} {z}" for x, y, z in three)
        facets.append(f"facet normal 0 0 0\nouter loop\n{vertices}\nendloop\nendfacet")
    return "solid body\n" + "\n".join(facets) + "\nendsolid body\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder meshes/ with a box of 0.2 by 0.4 by 0.6 m, and no packages known."""
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    monkeypatch.delenv("ROS_PACKAGE_PATH", raising=False)
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "body.stl").write_text(stl(CORNERS))
    return tmp_path


def gap(xml: str, folder=None) -> float:
    """Distance of the link's surface from the ball's at x = 1 m."""
    if folder is None:
        robot = Robot.from_urdf(xml, source="arm.urdf")
    else:
        (folder / "arm.urdf").write_text(xml)
        robot = Robot.from_file(folder / "arm.urdf")
    return float(robot.clearances.distances(np.array([1.0]))[0])


def refused(xml: str, *words: str, folder=None) -> None:
    """The clearances are refused by a message with all the words and the way on; without them it loads."""
    with pytest.raises(RobotModelError) as caught:
        gap(xml, folder)
    for word in (*words, "check_collisions"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Robot.from_urdf(xml, source="arm.urdf", collision=False).clearances.names == ()


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        ("", "expected one geometry with one shape, found []"),
        ('<sphere radius="1"/><sphere radius="1"/>', "found ['sphere', 'sphere']"),
        ('<plane normal="0 0 1"/>', "expected one of box, sphere, cylinder, capsule, mesh, got plane"),
        ('<box size="1 1"/>', "box size: expected 3 numbers, got '1 1'"),
        ('<box size="1 nan 1"/>', "box size: expected finite numbers"),
        ('<box size="1 0 1"/>', "box: sizes must be above zero, got [1.0, 0.0, 1.0]"),
        ("<box/>", "box size: expected 3 numbers, the attribute is missing"),
        ('<sphere radius="inf"/>', "sphere radius: expected finite numbers"),
        ('<sphere radius="-1"/>', "sphere: sizes must be above zero, got [-1.0]"),
        ('<sphere radius="1e300"/>', "the sphere does not lie within 10000 m"),
        ('<cylinder radius="1"/>', "cylinder length: expected 1 numbers, the attribute is missing"),
        ('<cylinder radius="one" length="1"/>', "cylinder radius: expected 1 numbers, got 'one'"),
        ('<capsule radius="1" length="nan"/>', "capsule length: expected finite numbers"),
        ("<mesh/>", 'mesh: attribute "filename" is missing or empty'),
        ('<mesh filename="a.stl" scale="1 1"/>', "mesh scale: expected 3 numbers, got '1 1'"),
        ('<mesh filename="a.stl" scale="1 0 1"/>', "mesh scale: must not be zero, got [1.0, 0.0, 1.0]"),
        ('<mesh filename="a.stl" scale="1 1 inf"/>', "mesh scale: expected finite numbers"),
    ],
)
def test_shape_that_cannot_be_used_is_refused_by_name(geometry, words):
    refused(text(shape(geometry)), "arm.urdf: link link1 collision", words)


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"xyz": "0 nan 0"}, "origin xyz: expected finite numbers, got '0 nan 0'"),
        ({"rpy": "0 0"}, "origin rpy: expected 3 numbers, got '0 0'"),
        ({"xyz": "1e200 0 0"}, "the sphere does not lie within 10000 m"),
    ],
)
def test_place_that_cannot_be_used_is_refused(origin, words):
    refused(text(shape('<sphere radius="1"/>', **origin)), "link link1", words)
    twice = sphere(0.1).replace("<geometry>", "<origin/><geometry>")
    refused(text(twice), "link link1", "expected one origin, found 2")


def test_origin_may_be_left_out_and_strangers_in_a_collision_are_read_past():
    plain = '<collision name="a"><verbose value="1"/><geometry><sphere radius="0.1"/></geometry></collision>'
    assert gap(text(plain)) == pytest.approx(0.8)


@FIXED
@given(st.lists(st.floats(-10, 10), min_size=6, max_size=6))
def test_origin_is_that_of_pinocchio(values):
    xyz, rpy = (" ".join(map(repr, values[at : at + 3])) for at in (0, 3))
    found = origin_pose(parse_robot(f'<robot><origin xyz="{xyz}" rpy="{rpy}"/></robot>', "test"), "test")
    assert found[:3, :3] == pytest.approx(pinocchio.rpy.rpyToMatrix(np.array(values[3:])), abs=1e-12)
    assert found[:3, 3] == pytest.approx(values[:3])


@FIXED
@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_any_numbers_are_read_or_refused(size, xyz, scale):
    for inside in (
        shape(f'<box size="{_plain(size)}"/>', _plain(xyz)),
        shape(f'<mesh filename="none.stl" scale="{_plain(scale)}"/>'),
    ):
        try:
            assert np.isfinite(gap(text(inside)))
        except RobotModelError as error:
            assert "link link1" in str(error)


def _plain(value: str) -> str:
    return "".join(letter for letter in value if letter.isprintable() and letter not in "<>&\"'")


def test_mesh_is_found_beside_the_urdf_by_file_address_and_in_packages(folder, monkeypatch):
    path = folder / "meshes" / "body.stl"
    for address in ("meshes/body.stl", path, f"file://{path}", f"file://localhost{path}"):
        assert gap(text(mesh(address)), folder) == pytest.approx(0.8, abs=1e-6)
    assert gap(text(mesh(path))) == pytest.approx(0.8, abs=1e-6)
    share = folder / "install" / "share" / "arm_description"
    share.mkdir(parents=True)
    path.rename(share / "body shape.stl")
    address = "package://arm_description/body shape.stl"
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{folder / 'other'}:{folder / 'install'}")
    assert gap(text(mesh(address))) == pytest.approx(0.8, abs=1e-6)
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    for root in (share.parent, share):
        monkeypatch.setenv("ROS_PACKAGE_PATH", str(root))
        assert gap(text(mesh(address))) == pytest.approx(0.8, abs=1e-6)


def test_mesh_is_its_hull_scaled_and_a_flat_one_a_thin_plate(folder):
    assert gap(text(mesh("meshes/body.stl", "2 1 -1")), folder) == pytest.approx(0.7, abs=1e-6)
    (folder / "flat.stl").write_text(stl(FLAT))
    assert gap(text(mesh("flat.stl")), folder) == pytest.approx(0.8, abs=0.002)
    turned = mesh("flat.stl").replace('rpy="0 0 0"', 'rpy="0 1.5707963267948966 0"')
    assert gap(text(turned), folder) == pytest.approx(0.899, abs=1e-4)
    (folder / "line.stl").write_text(stl([(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.3, 0.0, 0.0)]))
    assert gap(text(mesh("line.stl")), folder) == pytest.approx(0.9, abs=0.003)


def test_mesh_that_is_not_found_is_refused_saying_where_was_looked(folder, monkeypatch):
    refused(text(mesh("meshes/none.stl")), "link link1", "meshes/none.stl", str(folder), folder=folder)
    refused(text(mesh("meshes/body.stl")), "link link1 collision mesh meshes/body.stl", "without a folder")
    refused(
        text(mesh("file:///none.stl")), "link link1", "file:///none.stl: no such file; looked at /none.stl"
    )
    refused(text(mesh("http://host/a.stl")), "http://host/a.stl: expected package://, file:// or a path")
    refused(text(mesh("package://arm/a.stl")), "looked nowhere", "AMENT_PREFIX_PATH and ROS_PACKAGE_PATH")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/first:/second")
    looked = "looked at /first/share/arm/a.stl, /second/share/arm/a.stl"
    refused(text(mesh("package://arm/a.stl")), "package://arm/a.stl: no such file", looked)
    obstacle = shape('<mesh filename="none.stl"/>', holder='obstacle name="shelf"')
    refused(arm(joint("turn"), safety=obstacle), "octo_safety obstacle shelf mesh none.stl")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot read it: File is empty"),
        (b"solid body", "cannot read it"),
        (bytes(100), "cannot read it"),
        (stl([(0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1e6, 0.0, 0.0)]).encode(), "a vertex is not within 10000 m"),
    ],
)
def test_mesh_that_cannot_be_read_is_refused_by_name(content, words, folder):
    path = folder / "meshes" / "body.stl"
    path.write_bytes(content)
    refused(text(mesh(path)), "link link1", str(path), words)
