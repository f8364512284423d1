"""Small URDFs for the tests: an arm of links one tenth of a metre apart."""

from __future__ import annotations

from collections.abc import Mapping

BOX = '<box min="-1 -1 -1" max="1 1 1"/>'


def joint(
    name: str,
    kind: str = "revolute",
    axis: str = "0 0 1",
    lower: object = -1.0,
    upper: object = 1.0,
    velocity: object = 2.0,
    parent: str = "",
    child: str = "",
    xyz: str = "0 0 0",
    rpy: str = "0 0 0",
    extra: str = "",
) -> str:
    """One joint; a limit value of None leaves the attribute out. `arm` fills in parent and child."""
    values = {"lower": lower, "upper": upper, "velocity": velocity}
    limit = " ".join(f'{key}="{value}"' for key, value in values.items() if value is not None)
    limit = f'<limit {limit} effort="1"/>' if kind in ("revolute", "prismatic") else ""
    ends = f'<parent link="{parent or "PARENT"}"/><child link="{child or "CHILD"}"/>'
    return (
        f'<joint name="{name}" type="{kind}">{ends}'
        f'<origin xyz="{xyz}" rpy="{rpy}"/><axis xyz="{axis}"/>{limit}{extra}</joint>'
    )


def shape(geometry: str, xyz: str = "0 0 0", rpy: str = "0 0 0", holder: str = "collision") -> str:
    """A body of geometry in an element such as `collision` or `obstacle name="post"`."""
    tag = holder.split()[0]
    return f'<{holder}><origin xyz="{xyz}" rpy="{rpy}"/><geometry>{geometry}</geometry></{tag}>'


def sphere(radius: float, xyz: str = "0 0 0", holder: str = "collision") -> str:
    """A sphere, as `shape`."""
    return shape(f'<sphere radius="{radius}"/>', xyz, holder=holder)


def arm(
    *joints: str,
    frame: str = "base",
    tip: str = "tip",
    box: str = BOX,
    home: str = "",
    safety: str = "",
    shapes: Mapping[str, str] | None = None,
    extra: str = "",
) -> str:
    """A URDF: links base, link1, .. joined by `joints`, then the tip 0.1 m along x of the last.

    Between two joints there is a fixed offset of 0.1 m along x as well, to the links out1, ..
    `shapes` holds what is in a link, `safety` what else is in octo_safety.
    """
    shapes = shapes or {}
    links, parts = ["base"], []
    for index, text in enumerate(joints, start=1):
        turned, out = f"link{index}", f"out{index}" if index < len(joints) else "tip"
        parts.append(text.replace("PARENT", links[-1]).replace("CHILD", turned))
        parts.append(joint(f"offset{index}", kind="fixed", parent=turned, child=out, xyz="0.1 0 0"))
        links += [turned, out]
    home_element = f'<home joints="{home}"/>' if home else ""
    workspace = f'<workspace frame="{frame}" tip="{tip}">{box}</workspace>'
    safety = f'<octo_safety version="1">{workspace}{home_element}{safety}</octo_safety>'
    names = "".join(
        f'<link name="{link}">{shapes[link]}</link>' if link in shapes else f'<link name="{link}"/>'
        for link in links
    )
    return f'<?xml version="1.0"?><robot name="arm">{names}{"".join(parts)}{extra}{safety}</robot>'
