"""Invariant 24: a URDF that leaves any doubt is refused, and the message names the doubt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safety_cell import ROBOTS, URDF
from safety_urdf import BOX, arm, joint

from octo_ros.errors import ParameterError, RobotModelError
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

FIXED = settings(derandomize=True, deadline=None, max_examples=40)

BAD_VALUES = ["nan", "inf", "-inf", "1e999", "", "fast", "${pi}", "1,5", "1 2"]
BAD_LIMITS = [
    *((dict.fromkeys((key,)), f"{key} limit missing") for key in ("lower", "upper", "velocity")),
    *(({key: value}, f"{key} limit") for key in ("lower", "upper", "velocity") for value in BAD_VALUES),
    ({"velocity": 0}, "velocity limit must be above zero"),
    ({"velocity": -2}, "velocity limit must be above zero"),
    ({"lower": 1, "upper": -1}, "lower limit 1 is not below upper limit -1"),
    ({"lower": 0.3, "upper": 0.3}, "lower limit 0.3 is not below upper limit 0.3"),
    ({"lower": 0, "upper": 0}, "lower limit 0 is not below upper limit 0"),
    ({"kind": "continuous"}, "position limit missing"),
    ({"kind": "planar"}, "expected revolute or prismatic, got type 'planar'"),
    ({"kind": "floating"}, "expected revolute or prismatic, got type 'floating'"),
    ({"kind": "hinge"}, "expected revolute or prismatic, got type 'hinge'"),
    ({"extra": '<mimic joint="first"/>'}, "mimics another joint"),
    ({"extra": '<limit lower="-1" upper="1" velocity="1"/>'}, "expected one limit element, found 2"),
    ({"axis": "0 0 0"}, "the axis is zero"),
    ({"axis": "0 0 nan"}, "axis: expected finite numbers"),
    ({"axis": "0 1"}, "axis: expected 3 numbers"),
]


def refused(text: object, *words: str) -> None:
    """The text is refused by a message with all the words, which names the source."""
    with pytest.raises(RobotModelError) as caught:
        Robot.from_urdf(text, source="arm.urdf")
    for word in ("arm.urdf", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(("changes", "words"), BAD_LIMITS)
@pytest.mark.parametrize("kind", ["revolute", "prismatic"])
def test_invariant_24_joint_without_a_usable_limit_is_refused_by_name(kind, changes, words):
    refused(arm(joint("first"), joint("second", **{"kind": kind, **changes})), "second", words)


def test_invariant_24_joint_without_a_limit_element_is_refused_by_name():
    text = arm(joint("first")).replace('<limit lower="-1.0" upper="1.0" velocity="2.0" effort="1"/>', "")
    refused(text, "first", "limit missing")


@FIXED
@given(
    lower=st.floats(allow_nan=True, allow_infinity=True),
    upper=st.floats(allow_nan=True, allow_infinity=True),
    velocity=st.floats(allow_nan=True, allow_infinity=True),
)
def test_invariant_24_any_limits_are_usable_or_refused(lower, upper, velocity):
    text = arm(joint("first", lower=lower, upper=upper, velocity=velocity))
    usable = np.isfinite([lower, upper, velocity]).all() and lower < upper and velocity > 0
    if usable:
        found = Robot.from_urdf(text, source="arm.urdf")
        assert (found.lower[0], found.upper[0], found.velocity[0]) == (lower, upper, velocity)
    else:
        refused(text, "first")


@pytest.mark.parametrize("name", ROBOTS)
@FIXED
@given(data=st.data())
def test_invariant_24_shipped_robot_with_one_limit_spoilt_is_refused_by_name(name, data):
    text = (URDF / f"{name}.urdf").read_text()
    found = data.draw(st.sampled_from(Robot.from_urdf(text, source="x").joint_names))
    key = data.draw(st.sampled_from(["lower", "upper", "velocity"]))
    value = data.draw(st.sampled_from(["nan", "inf", "", None]))
    start = text.index("<limit", text.index(f'<joint name="{found}"'))
    end = text.index("/>", start)
    words = [word for word in text[start:end].split() if not word.startswith(key)]
    words += [] if value is None else [f'{key}="{value}"']
    refused(text[:start] + " ".join(words) + text[end:], found, key)


def test_invariant_24_without_a_workspace_the_robot_is_refused():
    text = arm(joint("first"))
    start, end = text.index("<octo_safety"), text.index("</octo_safety>") + len("</octo_safety>")
    element = text[start:end]
    refused(text[:start] + text[end:], "octo_safety", "found 0")
    refused(text[:end] + element + text[end:], "octo_safety", "found 2")
    refused(text.replace('version="1"', 'version="2"'), "version", "'2'")
    refused(text.replace(' version="1"', ""), "version", "None")
    refused(text.replace("workspace", "playground"), "unknown element playground")
    refused(text.replace('<octo_safety version="1">', '<octo_safety version="1"><zone/>'), "zone")
    refused(text.replace(BOX, ""), "expected one box element, found 0")
    refused(text.replace(BOX, BOX + BOX), "expected one box element, found 2")
    refused(arm(joint("first"), frame=""), "frame", "missing or empty")
    refused(arm(joint("first"), frame="world"), "'world'", "base, link1, tip")
    refused(arm(joint("first"), tip="hand"), "'hand'", "base, link1, tip")


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ('<box min="-1 -1 -1"/>', "box max: expected 3 numbers, the attribute is missing"),
        ('<box min="-1 -1 -1" max="1 1"/>', "box max: expected 3 numbers, got '1 1'"),
        ('<box min="-1 -1 -1 0" max="1 1 1"/>', "box min: expected 3 numbers"),
        ('<box min="-1 -1 low" max="1 1 1"/>', "box min: expected 3 numbers"),
        ('<box min="-1 -1 -1" max="1 nan 1"/>', "box max: expected finite numbers"),
        ('<box min="-1 -1 -inf" max="1 1 1"/>', "box min: expected finite numbers"),
        ('<box min="-1 1 -1" max="1 -1 1"/>', "min y 1 is not below max y -1"),
        ('<box min="-1 -1 0" max="1 1 0"/>', "min z 0 is not below max z 0"),
    ],
)
def test_invariant_24_bad_box_is_refused(box, words):
    refused(arm(joint("first"), box=box), words)


ZONE = '<zone link="{}"><box min="-1 -1 -1" max="1 1 1"/></zone>'
POST = '<obstacle name="{}"><geometry><sphere radius="0.1"/></geometry></obstacle>'


@pytest.mark.parametrize(
    ("safety", "words"),
    [
        (ZONE.format("nowhere"), "zone of link 'nowhere' is no link of the robot; links: base, link1, tip"),
        (ZONE.format("base"), "zone of link base: no joint of the arm moves the link"),
        (ZONE.format(""), 'zone: attribute "link" is missing or empty'),
        (ZONE.format("tip") + ZONE.format("tip"), "zone of link tip: the link has two zones"),
        ('<zone link="tip"/>', "zone of link tip: expected one box element, found 0"),
        (ZONE.format("tip").replace("-1 -1 -1", "-1 2 -1"), "link tip box: min y 2 is not below max y 1"),
        (ZONE.format("tip").replace("-1 -1 -1", "-1 nan -1"), "link tip box min: expected finite numbers"),
        (ZONE.format("tip").replace("<zone", '<zone frame="a"'), "zone of link tip: unknown attribute frame"),
        (ZONE.format("tip").replace("</zone>", "<ball/></zone>"), "zone of link tip: unknown element ball"),
        (POST.format(""), 'obstacle: attribute "name" is missing or empty'),
        (POST.format("a") + POST.format("a"), "obstacle a: two obstacles have this name"),
        (POST.format('a" frame="tip'), "obstacle a: unknown attribute frame"),
        (POST.format("a").replace("<geometry>", "<axis/><geometry>"), "obstacle a: unknown element axis"),
        ('<obstacle name="a"/>', "obstacle a: expected one geometry with one shape, found []"),
        (POST.format("a").replace("0.1", "-0.1"), "obstacle a sphere: sizes must be above zero, got [-0.1]"),
        (POST.format("a").replace("sphere", "plane"), "obstacle a: expected one of box, sphere"),
        ("<ignore_collision/>", 'ignore_collision: attribute "links" is missing or empty'),
        (
            '<ignore_collision links="tip"/>',
            "ignore_collision links: expected two different links, got 'tip'",
        ),
        ('<ignore_collision links="tip tip"/>', "expected two different links, got 'tip tip'"),
        ('<ignore_collision links="base link1 tip"/>', "expected two different links"),
        ('<ignore_collision links="base hand"/>', "ignore_collision: link 'hand' is no link of the robot"),
        ('<ignore_collision links="base tip"><a/></ignore_collision>', "ignore_collision: unknown element a"),
        ("<home/>", "home joints: expected numbers, the attribute is missing"),
        ('<home joints="0"/><home joints="0"/>', "expected one home element, found 2"),
    ],
)
def test_declaration_that_leaves_a_doubt_is_refused(safety, words):
    refused(arm(joint("first"), safety=safety), "octo_safety", words)


def test_zones_and_obstacles_are_read():
    place = '<origin xyz="1 2 3" rpy="0 0 1.5707963267948966"/>'
    safety = ZONE.format("link1") + POST.format("post").replace("<geometry>", place + "<geometry>")
    found = Robot.from_urdf(arm(joint("first"), safety=safety), source="arm.urdf")
    assert [(zone.link, *zone.minimum, *zone.maximum) for zone in found.zones] == [
        ("link1", -1, -1, -1, 1, 1, 1)
    ]
    (post,) = found.obstacles
    assert (post.name, post.shape.kind, *post.shape.size) == ("post", "sphere", 0.1)
    expected = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    assert post.shape.pose == pytest.approx(np.array(expected), abs=1e-15)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty text"),
        (None, "NoneType"),
        (b"<robot/>", "bytes"),
        ("not xml", "not XML"),
        ("<robot>", "not XML"),
        ("<robot name='a\x00'/>", "not XML"),
        ("<robot name='\ud800'/>", "not XML"),
        ("<sdf/>", "expected the root element robot, got sdf"),
        ("<!DOCTYPE robot [<!ENTITY a 'b'>]><robot>&a;</robot>", "DOCTYPE"),
        ("<robot name='a'><xacro:include filename='b'/></robot>", "expand it with xacro"),
        ("<robot name='a'><link/></robot>", "a link has no name"),
    ],
)
def test_text_that_is_no_urdf_is_refused(text, words):
    if isinstance(text, str) and "<link/>" in text:
        text = arm(joint("first")).replace('<link name="base"/>', '<link name="base"/><link/>')
    refused(text, words)


def test_tree_that_is_no_tree_is_refused():
    loose = '<link name="loose"/>'
    refused(arm(joint("first"), extra=loose, tip="loose"), "base and loose are not connected")
    refused(arm(joint("first"), joint("first")), "two joints are named first")
    refused(arm(joint("first"), extra='<link name="base"/>'), "two links are named base")
    refused(arm(joint("first"), extra=joint("second", parent="base", child="tip")), "held by two joints")
    refused(arm(joint("first"), extra=joint("second", parent="base", child="nowhere")), "'nowhere'")
    refused(arm(joint("first")).replace('<parent link="base"/>', ""), "joint first: no parent link")
    refused(arm(joint("first"), extra=joint("loop", parent="tip", child="base")), "loop")
    refused(arm(joint("first"), tip="base"), "no movable joint lies between base and base")
    table = '<link name="table"/>' + joint("lift", kind="prismatic", parent="base", child="table")
    refused(arm(joint("first"), extra=table, frame="table"), "joint lift moves the workspace frame table")


def test_origin_that_is_not_finite_is_refused():
    refused(
        arm(joint("first", xyz="0 0 nan")), "joint first origin xyz: expected finite numbers, got '0 0 nan'"
    )
    locked = '<link name="finger"/>' + joint(
        "grip", kind="fixed", parent="tip", child="finger", xyz="0 inf 0"
    )
    refused(arm(joint("first"), extra=locked), "joint grip origin xyz: expected finite numbers")
    refused(arm(joint("first", xyz="0 0 1e200")), "link link1 does not lie within 10000 m")
    far = joint("first", kind="prismatic", lower=-1e300)
    refused(arm(far), "joint first: a position limit is not within 10000 m")


def test_options_that_leave_nothing_of_a_range_are_refused_by_name():
    narrow = Robot.from_urdf(arm(joint("first"), joint("second", lower=-0.04, upper=0.04)), source="arm.urdf")
    with pytest.raises(
        ParameterError, match="joint_margin: 0.05 leaves nothing of the range of joint second"
    ):
        SafetyFilter(narrow)
    low = Robot.from_urdf(arm(joint("first"), box='<box min="-1 -1 0" max="1 1 0.01"/>'), source="arm.urdf")
    with pytest.raises(ParameterError, match="box_inset: 0.005 m leaves nothing of the workspace in z"):
        SafetyFilter(low)


def test_workspace_parameters_only_tighten():
    found = Robot.from_urdf(arm(joint("first")), source="arm.urdf")
    tight = FilterOptions(workspace_min=(-1, -0.5, 0), workspace_max=(0.5, 1, 1))
    box = found.workspace.tightened(tight.workspace_min, tight.workspace_max)
    assert box.minimum == pytest.approx([-1, -0.5, 0])
    assert box.maximum == pytest.approx([0.5, 1, 1])
    with pytest.raises(ParameterError, match="workspace_min z: may only tighten the URDF's -1 m, got -1.1 m"):
        SafetyFilter(found, FilterOptions(workspace_min=(0, 0, -1.1)))
    with pytest.raises(ParameterError, match="workspace_max x: may only tighten the URDF's 1 m, got 2 m"):
        SafetyFilter(found, FilterOptions(workspace_max=(2, 1, 1)))
    with pytest.raises(ParameterError, match="workspace y: minimum 0.5 m is not below maximum 0.5 m"):
        SafetyFilter(found, FilterOptions(workspace_min=(0, 0.5, 0), workspace_max=(1, 0.5, 1)))


@pytest.mark.parametrize(
    "changes",
    [
        {"joint_margin": -0.01}, {"joint_margin": float("nan")}, {"box_inset": "wide"},
        {"velocity_scale": 0.91}, {"velocity_scale": 0.0}, {"max_tool_speed": 0.0},
        {"max_tool_rotation_speed": float("inf")},
        {"max_joint_acceleration": -1.0}, {"action_timeout_s": 0.0}, {"max_action_age_s": None},
        {"max_step_s": float("nan")}, {"data_rate_hz": 0.0}, {"data_rate_hz": True},
        {"max_tracking_error": 0.0}, {"action_frame": "camera"}, {"rotation_order": "xyz"},
        {"reference": ""}, {"workspace_min": (0, 0)},
        {"workspace_max": (0, 0, float("nan"))}, {"workspace_max": 3}, {"workspace_max": "1 2"},
    ],
)  # fmt: skip
def test_option_outside_its_range_is_refused_by_name(changes):
    with pytest.raises(ParameterError, match=next(iter(changes))):
        FilterOptions(**changes)
