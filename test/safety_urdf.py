"""Small URDFs for the tests: an arm of links one tenth of a metre apart."""

from __future__ import annotations

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
    extra: str = "",
) -> str:
    """One joint; a limit value of None leaves the attribute out. `arm` fills in parent and child."""
    values = {"lower": lower, "upper": upper, "velocity": velocity}
    limit = " ".join(f'{key}="{value}"' for key, value in values.items() if value is not None)
    limit = f'<limit {limit} effort="1"/>' if kind in ("revolute", "prismatic") else ""
    ends = f'<parent link="{parent or "PARENT"}"/><child link="{child or "CHILD"}"/>'
    return (
        f'<joint name="{name}" type="{kind}">{ends}'
        f'<origin xyz="{xyz}"/><axis xyz="{axis}"/>{limit}{extra}</joint>'
    )


def arm(
    *joints: str, frame: str = "base", tip: str = "tip", box: str = BOX, home: str = "", extra: str = ""
) -> str:
    """A URDF: links base, link1, .. joined by `joints`, then the tip 0.1 m along x of the last.

    Between two joints there is a fixed offset of 0.1 m along x as well.
    """
    links, parts = ["base"], []
    for index, text in enumerate(joints, start=1):
        turned, out = f"link{index}", f"out{index}" if index < len(joints) else "tip"
        parts.append(text.replace("PARENT", links[-1]).replace("CHILD", turned))
        parts.append(joint(f"offset{index}", kind="fixed", parent=turned, child=out, xyz="0.1 0 0"))
        links += [turned, out]
    home_element = f'<home joints="{home}"/>' if home else ""
    workspace = f'<workspace frame="{frame}" tip="{tip}">{box}</workspace>'
    safety = f'<octo_safety version="1">{workspace}{home_element}</octo_safety>'
    names = "".join(f'<link name="{link}"/>' for link in links)
    return f'<?xml version="1.0"?><robot name="arm">{names}{"".join(parts)}{extra}{safety}</robot>'
