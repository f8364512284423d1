"""Arms as URDF text that are in no repository: random chains, a SCARA, a gantry, planar arms, broken ones.

Every arm is determined by its name and, for a random one, by its seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from safety_model import Model

from octo_ros.safety.robot import Robot

URDF = Path(__file__).resolve().parent.parent / "urdf"
SHIPPED = ("fr3", "panda", "ur5e")
SHAPES = ("scara", "gantry", "planar", "short", "pinched")
"""The arms of fixed shape; any other name is "random SEED"."""


@dataclass(frozen=True)
class Link:
    """One joint and the link it moves, for `urdf`.

    Attributes:
        kind: "revolute" or "prismatic"; axis: its direction in the joint's frame.
        lower, upper, velocity: limits [rad or m, rad/s or m/s].
        xyz, rpy: origin of the joint in the link before it.
        shape: collision geometry of the link, "" for none.
    """

    kind: str
    axis: str
    lower: float
    upper: float
    velocity: float
    xyz: str
    rpy: str = "0 0 0"
    shape: str = ""


def sphere(radius: float, at: str = "0 0 0") -> str:
    """A collision sphere."""
    return _collision(f'<sphere radius="{radius}"/>', at)


def rod(radius: float, length: float, at: str = "0 0 0") -> str:
    """A collision cylinder along z."""
    return _collision(f'<cylinder radius="{radius}" length="{length}"/>', at)


def urdf(links: list[Link], tool: str, box: tuple, safety: str = "", gripper: bool = False) -> str:
    """The text of a chain base, link1, .. linkN, tool; `box` is the workspace's corners (3,), (3,)."""
    names = ["base", *(f"link{index + 1}" for index in range(len(links)))]
    parts = ['<link name="base"/>']
    for index, link in enumerate(links):
        limit = f'lower="{link.lower}" upper="{link.upper}" velocity="{link.velocity}" effort="1"'
        parts.append(
            f'<link name="{names[index + 1]}">{link.shape}</link>'
            f'<joint name="joint{index + 1}" type="{link.kind}"><parent link="{names[index]}"/>'
            f'<child link="{names[index + 1]}"/><origin xyz="{link.xyz}" rpy="{link.rpy}"/>'
            f'<axis xyz="{link.axis}"/><limit {limit}/></joint>'
        )
    parts.append(
        f'<link name="tool"/><joint name="flange" type="fixed"><parent link="{names[-1]}"/>'
        f'<child link="tool"/><origin xyz="{tool}"/></joint>'
    )
    if gripper:
        parts.append(_gripper())
    low, high = (" ".join(f"{number:.6f}" for number in corner) for corner in box)
    workspace = f'<workspace frame="base" tip="tool"><box min="{low}" max="{high}"/></workspace>'
    parts.append(f'<octo_safety version="1">{workspace}{safety}</octo_safety>')
    return f'<?xml version="1.0"?><robot name="arm">{"".join(parts)}</robot>'


def scara() -> str:
    """Two turning links, a lift and a turning tool, among posts and with a zone for the elbow."""
    links = [
        Link("revolute", "0 0 1", -2.6, 2.6, 2.0, "0 0 0.4", shape=rod(0.05, 0.3, "0 0 -0.2")),
        Link("revolute", "0 0 1", -2.4, 2.4, 3.0, "0.35 0 0", shape=sphere(0.06)),
        Link("prismatic", "0 0 -1", -0.05, 0.35, 0.5, "0.3 0 0", shape=rod(0.03, 0.2)),
        Link("revolute", "0 0 1", -3.0, 3.0, 5.0, "0 0 -0.05"),
    ]
    safety = (
        '<zone link="link2"><box min="-0.34 -0.34 0.3" max="0.4 0.34 0.5"/></zone>'
        '<obstacle name="post"><origin xyz="0.35 0.3 0.3"/><geometry><cylinder radius="0.05" length="0.6"/>'
        "</geometry></obstacle>"
        '<obstacle name="crate"><origin xyz="0.5 -0.3 0.1" rpy="0 0 0.5"/>'
        '<geometry><box size="0.2 0.2 0.2"/></geometry></obstacle>'
        '<ignore_collision links="link1 link3"/>'
    )
    return urdf(links, "0 0 -0.05", ((-0.2, -0.6, 0.05), (0.6, 0.6, 0.45)), safety)


def gantry() -> str:
    """Three rails and a wrist of three joints, a mimicking gripper, a ball on the table."""
    links = [
        Link("prismatic", "1 0 0", -0.8, 0.8, 0.6, "0 0 1", shape=""),
        Link("prismatic", "0 1 0", -0.5, 0.5, 0.4, "0 0 0", shape=""),
        Link("prismatic", "0 0 -1", 0.0, 0.7, 0.3, "0 0 0", shape=rod(0.03, 0.3, "0 0 0.2")),
        Link("revolute", "0 0 1", -2.9, 2.9, 3.0, "0 0 0"),
        Link("revolute", "0 1 0", -1.9, 1.9, 3.0, "0 0 -0.05", shape=sphere(0.05)),
        Link("revolute", "0 0 1", -2.9, 2.9, 3.0, "0 0 -0.05"),
    ]
    ball = '<origin xyz="0.1 0.1 0.2"/><geometry><sphere radius="0.12"/></geometry>'
    safety = f'<obstacle name="ball">{ball}</obstacle>'
    return urdf(links, "0 0 -0.1", ((-0.6, -0.4, 0.1), (0.7, 0.4, 0.85)), safety, gripper=True)


def planar() -> str:
    """Three joints about one axis: a tool that moves in a plane only."""
    links = [
        Link("revolute", "0 0 1", -2.0, 2.0, 2.0, "0 0 0"),
        Link("revolute", "0 0 1", -2.5, 2.5, 2.0, "0.3 0 0", shape=sphere(0.04)),
        Link("revolute", "0 0 1", -2.5, 2.5, 3.0, "0.25 0 0", shape=sphere(0.04)),
    ]
    return urdf(links, "0.1 0 0", ((-0.3, -0.55, -0.1), (0.62, 0.55, 0.1)))


def short() -> str:
    """Two joints of a few centimetres."""
    links = [
        Link("revolute", "0 0 1", -1.5, 1.5, 6.0, "0 0 0"),
        Link("revolute", "0 1 0", -1.2, 1.2, 6.0, "0.04 0 0"),
    ]
    return urdf(links, "0.05 0 0", ((0.0, -0.08, -0.06), (0.085, 0.08, 0.06)))


def pinched() -> str:
    """Six joints whose ranges, speeds and box are all small."""
    links = [
        Link("revolute", axis, -0.4, 0.5, 0.4 + 0.3 * index, xyz)
        for index, (axis, xyz) in enumerate(
            zip(
                ("0 0 1", "0 1 0", "0 1 0", "1 0 0", "0 1 0", "1 0 0"),
                ("0 0 0.2", "0 0 0.1", "0.3 0 0", "0.1 0 0", "0.2 0 0", "0.05 0 0"),
                strict=True,
            )
        )
    ]
    return urdf(links, "0.08 0 0", ((0.55, -0.12, 0.1), (0.72, 0.1, 0.4)))


def random_chain(seed: int) -> str:
    """Six or seven revolute joints anywhere, with what shapes, zones and obstacles the seed gives."""
    random = np.random.default_rng([seed, 0xA12])
    count, crowded = int(random.integers(6, 8)), random.random() < 0.5
    links = []
    for index in range(count):
        axis = np.eye(3)[random.integers(3)] if random.random() < 0.7 else _direction(random)
        turn = random.choice([0.0, np.pi / 2, -np.pi / 2], size=3)
        if random.random() < 0.4:
            turn = random.uniform(-np.pi, np.pi, 3)
        offset = _direction(random) * random.choice([0.0, 0.05, 0.15, 0.35])
        if index == 0:
            offset = np.array([0.0, 0.0, 0.2])
        low, high = random.uniform(-3.1, -0.3), random.uniform(0.3, 3.1)
        shape = sphere(round(random.uniform(0.02, 0.07), 3)) if crowded and random.random() < 0.7 else ""
        velocity = round(float(np.exp(random.uniform(np.log(0.2), np.log(6.0)))), 3)
        links.append(
            Link(
                "revolute",
                _text(axis),
                round(low, 3),
                round(high, 3),
                velocity,
                _text(offset),
                _text(turn),
                shape,
            )
        )
    tool = _text(_direction(random) * random.uniform(0.02, 0.2))
    open_model = Model(urdf(links, tool, (np.full(3, -9.0), np.full(3, 9.0))))
    joints = random.uniform(0.7 * open_model.lower, 0.7 * open_model.upper)
    centre = open_model.tool(joints)[0]
    low, high = centre - random.uniform(0.05, 0.4, 3), centre + random.uniform(0.05, 0.4, 3)
    safety = ""
    if random.random() < 0.4:
        link = f"link{random.integers(2, count)}"
        zoned = Model(urdf(links, tool, (low, high), _zone(link, np.full(3, -9.0), np.full(3, 9.0))))
        middle = zoned.origins(joints)[0]
        safety += _zone(link, middle - random.uniform(0.03, 0.3, 3), middle + random.uniform(0.03, 0.3, 3))
    if crowded:
        place = centre + _direction(random) * random.uniform(0.2, 0.5)
        safety += (
            f'<obstacle name="box"><origin xyz="{_text(place)}" rpy="{_text(random.uniform(-1, 1, 3))}"/>'
            f'<geometry><box size="{_text(random.uniform(0.03, 0.2, 3))}"/></geometry></obstacle>'
        )
    safety += f'<home joints="{_text(joints)}"/>'
    return urdf(links, tool, (low, high), safety, gripper=random.random() < 0.3)


BROKEN = {  # name: (what to replace in the planar arm, by what, a word the message must hold)
    "missing limit": ('<limit lower="-2.5" upper="2.5" velocity="2.0" effort="1"/>', "", "joint2"),
    "missing bound": ('lower="-2.5" upper="2.5" velocity="2.0"', 'upper="2.5" velocity="2.0"', "joint2"),
    "zero velocity": ('velocity="3.0"', 'velocity="0"', "joint3"),
    "reversed": ('lower="-2.0" upper="2.0"', 'lower="2.0" upper="-2.0"', "joint1"),
    "infinite": ('upper="2.0"', 'upper="inf"', "joint1"),
    "nan": ('velocity="3.0"', 'velocity="nan"', "joint3"),
    "continuous": ('name="joint2" type="revolute"', 'name="joint2" type="continuous"', "joint2"),
    "mimic": ('<limit lower="-2.5" upper="2.5" velocity="3.0"', '<mimic joint="joint1"/>\\g<0>', "joint3"),
    "no box": ('<box min="[^"]*" max="[^"]*"/>', "", "box"),
    "reversed box": ('min="([^"]*)" max="([^"]*)"', 'min="\\2" max="\\1"', "box"),
    "no workspace": ("<octo_safety.*</octo_safety>", "", "octo_safety"),
}
"""How the planar arm is broken."""


@dataclass(frozen=True)
class Arm:
    """An arm by name, as the package sees it and as the checks do."""

    name: str

    @cached_property
    def xml(self) -> str:
        """The URDF."""
        if self.name in SHIPPED:
            return (URDF / f"{self.name}.urdf").read_text()
        if self.name.startswith("random "):
            return random_chain(int(self.name.split()[1]))
        return globals()[self.name]()

    @cached_property
    def robot(self) -> Robot:
        """As the package reads it."""
        return Robot.from_urdf(self.xml, source=self.name)

    @cached_property
    def model(self) -> Model:
        """As the checks read it."""
        return Model(self.xml)


@cache
def arm(name: str) -> Arm:
    """The arm of that name, read once."""
    return Arm(name)


def _collision(geometry: str, at: str) -> str:
    return f'<collision><origin xyz="{at}"/><geometry>{geometry}</geometry></collision>'


def _gripper() -> str:
    finger = '<axis xyz="0 1 0"/><limit lower="0" upper="0.04" velocity="0.2" effort="1"/>'
    ends = '<parent link="tool"/><child link="{}"/>'
    return (
        '<link name="left"/><link name="right"/>'
        f'<joint name="grip" type="prismatic">{ends.format("left")}{finger}</joint>'
        f'<joint name="other" type="prismatic">{ends.format("right")}{finger}<mimic joint="grip"/></joint>'
    )


def _zone(link: str, low: np.ndarray, high: np.ndarray) -> str:
    return f'<zone link="{link}"><box min="{_text(low)}" max="{_text(high)}"/></zone>'


def _direction(random: np.random.Generator) -> np.ndarray:
    vector = random.normal(size=3)
    return vector / np.linalg.norm(vector)


def _text(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in np.asarray(values))
