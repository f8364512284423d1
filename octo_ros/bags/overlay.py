"""Frames with the action drawn over them, as SVG.

A camera's place is not known, so nothing is projected: the arrow is a scheme in the robot's own
axes, as seen from behind its base. Up is +x, left is +y; bars beside the frame are dz and gripper.
"""

from __future__ import annotations

import base64

import cv2
import numpy as np

from octo_ros.bags.plots import GRID, INK, PREDICTED, RECORDED
from octo_ros.bags.thumbnails import HEIGHT, Thumbnail
from octo_ros.errors import ImageError

SIDE = 54
"""Width of the panel of bars beside a frame [thumbnail pixel]."""

REACH = 0.42
"""Length of the longest arrow and bar, as a share of the frame's height."""

THICKNESS = {PREDICTED: 3.6, RECORDED: 2.2}
"""Of the arrows [thumbnail pixel]; the recorded one lies on top."""

_TOP, _BOTTOM = 10, HEIGHT - 22


def arrow_scale(actions: np.ndarray) -> float:
    """The translation that is drawn in full length [m]: the greatest of (n, 7) physical actions, never 0."""
    translations = np.abs(actions[:, :3]).max(initial=0.0) if len(actions) else 0.0
    return float(max(translations, 1e-6))


def framed_action(
    thumbnail: Thumbnail, predicted: np.ndarray, recorded: np.ndarray | None, full_m: float
) -> str:
    """One frame with the predicted action, and the recorded one where there is one.

    Args:
        predicted, recorded: (7,) physical actions; a recorded one that is not finite is left out.
        full_m: translation drawn in full length [m].
    """
    width = thumbnail.image.shape[1]
    middle = width / 2.0, HEIGHT / 2.0
    actions = {PREDICTED: predicted}
    if recorded is not None and np.isfinite(recorded).all():
        actions[RECORDED] = recorded
    parts = [
        f'<image href="data:image/jpeg;base64,{_jpeg(thumbnail.image)}" width="{width}" height="{HEIGHT}"/>'
    ]
    parts += [_arrow(middle, action, full_m, colour) for colour, action in actions.items()]
    parts += _bars(width, actions, full_m)
    size = f'viewBox="0 0 {width + SIDE} {HEIGHT}"'
    return f'<svg {size} role="img" aria-label="frame with predicted action">{"".join(parts)}</svg>'


def _arrow(middle: tuple[float, float], action: np.ndarray, full_m: float, colour: str) -> str:
    """dx upward and dy to the left, from the middle of the frame; a dot where it is too short for a head."""
    scale = REACH * HEIGHT / full_m
    thick = THICKNESS[colour]
    along = np.array([-action[1], -action[0]]) * scale
    length = float(np.hypot(*along))
    start = np.array(middle)
    dot = f'<circle cx="{start[0]:.1f}" cy="{start[1]:.1f}" r="3.5" fill="{colour}" stroke="#fff"/>'
    if length < 2.0:
        return dot
    end, way = start + along, along / length
    across = np.array([-way[1], way[0]])
    head = min(13.0, 0.7 * length)
    neck = end - way * head
    corners = " ".join(
        f"{x:.1f},{y:.1f}" for x, y in (end, neck + across * head * 0.42, neck - across * head * 0.42)
    )
    line = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{neck[0]:.1f}" y2="{neck[1]:.1f}"'
    return (
        f'<line {line} stroke="#fff" stroke-width="{thick + 2.9}" stroke-linecap="round"/>'
        f'<polygon points="{corners}" fill="{colour}" stroke="#fff" stroke-width="1.8"/>'
        f'<line {line} stroke="{colour}" stroke-width="{thick}" stroke-linecap="round"/>{dot}'
    )


def _bars(width: int, actions: dict[str, np.ndarray], full_m: float) -> list[str]:
    """Two tracks: dz from the middle up or down, and the gripper's opening from the bottom."""
    half = (_BOTTOM - _TOP) / 2.0
    zero = _TOP + half
    parts = []
    for label, x in (("dz", width + 9.0), ("grip", width + 33.0)):
        parts.append(
            f'<rect x="{x}" y="{_TOP}" width="17" height="{_BOTTOM - _TOP}" fill="#fff" stroke="{GRID}"/>'
            f'<text x="{x + 8.5}" y="{HEIGHT - 8}" text-anchor="middle" font-size="11" fill="{INK}">'
            f"{label}</text>"
        )
    for colour, offset in ((PREDICTED, 1.5), (RECORDED, 9.0)):
        if colour not in actions:
            continue
        rise = float(np.clip(actions[colour][2] / full_m, -1.0, 1.0)) * half
        opening = float(np.clip(actions[colour][6], 0.0, 1.0)) * 2.0 * half
        parts.append(_bar(width + 9.0 + offset, min(zero, zero - rise), max(abs(rise), 1.0), colour))
        parts.append(_bar(width + 33.0 + offset, _BOTTOM - max(opening, 1.0), max(opening, 1.0), colour))
    x = width + 9.0
    return [
        *parts,
        f'<line x1="{x}" y1="{zero}" x2="{x + 17}" y2="{zero}" stroke="{INK}" stroke-width="0.8"/>',
    ]


def _bar(x: float, y: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="6.5" height="{height:.1f}" fill="{colour}"/>'


def _jpeg(image: np.ndarray) -> str:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise ImageError(f"thumbnail: OpenCV cannot write {image.shape} as JPEG")
    return base64.b64encode(data.tobytes()).decode("ascii")
