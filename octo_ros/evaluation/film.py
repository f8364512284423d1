"""A short film of episodes: what the cameras saw, the words, and what the safety filter did, as a GIF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from octo_ros.errors import ParameterError
from octo_ros.safety.decision import Status

CAMERAS = ("primary", "wrist")
"""Cameras side by side, from left to right."""

PERIOD_MS = 100
"""Time that a picture is shown: they are taken at 10 Hz [ms]."""

LAST_MS = 1500
"""The same of an episode's last one, which says how it ended [ms]."""

SIDES = (256, 224, 192, 160, 128, 96)
"""Sides of a camera's picture, the first that makes a file small enough is taken [pixel]."""

COLOURS, COMMON = 128, 40
"""Colours of the whole film, and how many of them are the commonest of its pictures."""

MOST_BYTES = 3_000_000
"""Largest file, where the smallest pictures allow it."""

PAPER, INK = (255, 255, 255), (34, 38, 43)
STATUS_COLOURS = {Status.OK.value: (42, 157, 111), Status.LIMITED.value: (230, 161, 0)}
"""Of the dot before what the filter did; of anything else the last."""
STOPPED_COLOUR = (192, 39, 29)


@dataclass(frozen=True)
class Shot:
    """One instant.

    Attributes:
        words: what was asked for.
        status: what the filter did, "" before it did anything.
        limits: that the filter met.
        pictures: (H, W, 3) uint8 RGB of each of `CAMERAS`.
        ending: how the episode ended, "" while it goes on.
    """

    words: str
    status: str
    limits: tuple[str, ...]
    pictures: tuple[np.ndarray, ...]
    ending: str = ""

    @property
    def note(self) -> str:
        """What the filter did, in words."""
        if self.ending:
            return self.ending
        return self.status + (": " + ", ".join(self.limits) if self.limits else "")


class Film:
    """Takes pictures as they come; a GIF is made of them at the end.

    Args:
        episodes: how many of the first are filmed.

    Attributes:
        shots: so far.
    """

    def __init__(self, episodes: int = 3) -> None:
        if episodes < 1:
            raise ParameterError(f"film: expected at least 1 episode, got {episodes}")
        self.shots: list[Shot] = []
        self._left, self._rolling = episodes, False

    def begin(self, words: str) -> None:
        """An episode begins."""
        self._rolling = self._left > 0
        self._words, self._status, self._limits = words, "", ()
        self._seen: dict[str, tuple[int, np.ndarray]] = {}

    def see(self, camera: str, stamp_ns: int, picture: np.ndarray) -> None:
        """A camera's picture, (H, W, 3) uint8 RGB. Those of one stamp make a shot."""
        if not self._rolling:
            return
        self._seen[camera] = stamp_ns, picture
        if all(self._seen.get(name, (None,))[0] == stamp_ns for name in CAMERAS):
            self._shoot("")

    def decided(self, status: str, limits: Sequence[str]) -> None:
        """What the filter did, until it does something else."""
        if self._rolling:
            self._status, self._limits = status, tuple(limits)

    def end(self, how: str) -> None:
        """The episode is over."""
        if self._rolling and len(self._seen) == len(CAMERAS):
            self._shoot(how)
        self._rolling, self._left = False, self._left - 1

    def write(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        """Writes the GIF.

        Raises:
            ParameterError: no picture came.
        """
        if not self.shots:
            raise ParameterError(f"{path}: expected pictures of {' and '.join(CAMERAS)}, got none")
        from PIL import Image

        for side in SIDES:
            pages = [Image.fromarray(page) for page in _pages(self.shots, side)]
            palette = _palette(pages)
            flat = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
            times = [LAST_MS if shot.ending else PERIOD_MS for shot in self.shots]
            flat[0].save(path, save_all=True, append_images=flat[1:], duration=times, loop=0, optimize=False)
            if path.stat().st_size <= most_bytes:
                return

    def _shoot(self, ending: str) -> None:
        pictures = tuple(self._seen[name][1] for name in CAMERAS)
        self.shots.append(Shot(self._words, self._status, self._limits, pictures, ending))


def _pages(shots: Sequence[Shot], side: int) -> list[np.ndarray]:
    """Every shot as one picture, (H, W, 3) uint8 RGB."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    margin = max(side // 10, 14)
    fonts = Path(get_data_path()) / "fonts" / "ttf"
    title = ImageFont.truetype(str(fonts / "DejaVuSans-Bold.ttf"), round(0.62 * margin))
    small = ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), round(0.48 * margin))
    width, height = side * len(CAMERAS), side + 2 * margin
    pages = []
    for shot in shots:
        page = Image.new("RGB", (width, height), PAPER)
        for number, picture in enumerate(shot.pictures):
            page.paste(Image.fromarray(_scaled(picture, side)), (number * side, margin))
        draw = ImageDraw.Draw(page)
        draw.text((margin // 3, margin // 2), shot.words, INK, title, anchor="lm")
        if shot.note:
            middle, radius = height - margin // 2, margin // 5
            colour = STATUS_COLOURS.get(Status.OK.value if shot.ending == "success" else shot.status)
            colour = STOPPED_COLOUR if colour is None or shot.ending == "failure" else colour
            dot = (margin // 3, middle - radius, margin // 3 + 2 * radius, middle + radius)
            draw.ellipse(dot, fill=colour)
            text = _cut(shot.note, lambda text: small.getlength(text) <= width - 1.4 * margin)
            draw.text((margin, middle), text, INK, small, anchor="lm")
        pages.append(np.asarray(page))
    return pages


def _scaled(picture: np.ndarray, side: int) -> np.ndarray:
    method = cv2.INTER_AREA if picture.shape[0] > side else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=method)


def _cut(text: str, fits) -> str:
    """The text, or as much of it as fits."""
    if fits(text):
        return text
    while text and not fits(text + " ..."):
        text = text[:-1]
    return text + " ..."


def _palette(pages: Sequence):
    """One palette for all pages: what does not change has the same colour in all of them.

    The commonest colours are in it as they are. Of the others each counts once, however much it covers,
    so that small cubes keep theirs.
    """
    from PIL import Image

    few = np.concatenate([np.asarray(page).reshape(-1, 3) for page in pages[:: max(1, len(pages) // 8)]])
    bins = np.ravel_multi_index(tuple(few.T // 8), (32, 32, 32))
    counts = np.bincount(bins)
    found = np.flatnonzero(counts)
    coarse = np.stack(np.unravel_index(found, (32, 32, 32)), axis=1)
    sums = [np.bincount(bins, few[:, axis])[found] for axis in range(3)]
    counts = counts[found]
    means = np.stack(sums, axis=1) / counts[:, None]
    commonest = means[np.argsort(-counts, kind="stable")[:COMMON]]
    known = np.array([*STATUS_COLOURS.values(), STOPPED_COLOUR, PAPER, INK], dtype=np.float64)
    left = COLOURS - len(known) - len(commonest)
    others = Image.fromarray((coarse * 8 + 4).astype(np.uint8)[None])
    others = others.quantize(left, kmeans=2, dither=Image.Dither.NONE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([*np.concatenate([known, commonest]).round().astype(int).ravel().tolist(), *others])
    return palette
