"""What a run tells: one JSON object a line, and curves drawn from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LOG = "log.jsonl"
CURVES = "curves.png"


class Record:
    """The log of a run.

    Args:
        folder: where it lies.
        step: steps done: what an earlier, longer attempt told beyond them is dropped.
    """

    def __init__(self, folder: Path, step: int):
        self._path = folder / LOG
        kept = [entry for entry in read_record(folder) if entry["step"] <= step] if step else []
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
        os.replace(partial, self._path)

    def tell(self, step: int, **values: Any) -> None:
        """Adds a line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def read_record(folder: Path) -> list[dict[str, Any]]:
    """The lines of a log; one that a kill cut off is left out."""
    path = folder / LOG
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def draw_curves(folder: Path) -> Path | None:
    """Draws loss and errors into `curves.png`; None where matplotlib is not installed (extra "replay")."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    entries = read_record(folder)
    losses = [entry for entry in entries if "loss" in entry]
    checked = [entry for entry in entries if "errors" in entry]
    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss, motion, gripper = figure.subplots(1, 3)
    loss.plot([entry["step"] for entry in losses], [entry["loss"] for entry in losses], linewidth=1)
    loss.set_title("loss")
    loss.set_yscale("log")
    steps = [entry["step"] for entry in checked]
    for axis in ("dx", "dy", "dz", "droll", "dpitch", "dyaw"):
        values = [entry["errors"]["first"][axis] * 1000 for entry in checked]
        motion.plot(steps, values, marker=".", label=axis)
    motion.set_title("error of the next action [mm, mrad]")
    motion.legend(fontsize=7, ncols=2)
    gripper.plot(steps, [entry["errors"]["first"]["gripper"] for entry in checked], marker=".")
    gripper.set_title("error of the gripper [of its way]")
    for axes in (loss, motion, gripper):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    figure.savefig(folder / CURVES, dpi=100)
    return folder / CURVES
