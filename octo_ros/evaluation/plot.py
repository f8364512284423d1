"""The results of an evaluation as one picture: bars with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from octo_ros.evaluation.score import Evaluation
from octo_ros.evaluation.share import Share

GOOD, FAILS, ALARM, INK, GRID = "#0b66a8", "#8a9099", "#c0271d", "#22262b", "#d9dde2"
"""Colours of a row, of one that fails as it must, of one that must and is not seen to; of text and lines."""

PANELS: dict[str, Callable[[Evaluation], Share]] = {
    "success": lambda result: result.success,
    "approached the named cube": lambda result: result.as_named,
    "other words, other cube": lambda result: result.changed,
}
"""What is drawn, from left to right; one that no setting has a trial of is left out."""


def draw(results: Sequence[Evaluation], verdicts: Sequence[str], path: Path) -> None:
    """Draws a bar for each setting, from the top down, with its interval at 95 %.

    Args:
        verdicts: of each setting that must fail whether it does, "" of the others.
        path: of the PNG.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {name: share for name, share in PANELS.items() if any(share(r).trials for r in results)}
    colours = [(ALARM if "NOT" in verdict else FAILS) if verdict else GOOD for verdict in verdicts]
    with rc_context({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK}):
        figure = Figure(
            figsize=(3.6 + 2.6 * len(panels), 1.1 + 0.42 * len(results)), dpi=150, layout="constrained"
        )
        FigureCanvasAgg(figure)
        columns = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (name, share) in zip(columns, panels.items(), strict=True):
            _bars(axes, [share(result) for result in results], colours)
            axes.set_title(name, fontsize=9)
        columns[0].set_yticks(range(len(results)), [result.setting for result in results])
        columns[0].invert_yaxis()
        figure.savefig(path, metadata={"Software": None})


def _bars(axes, shares: Sequence[Share], colours: Sequence[str]) -> None:
    values = np.array([share.value if share.trials else 0.0 for share in shares])
    bounds = np.array([share.interval if share.trials else (0.0, 0.0) for share in shares])
    errors = np.maximum(np.abs(bounds.T - values), 0.0)
    axes.barh(range(len(shares)), values, color=colours, height=0.55)
    axes.errorbar(values, range(len(shares)), xerr=errors, fmt="none", ecolor=INK, elinewidth=1.1, capsize=3)
    for row, share in enumerate(shares):
        text = f"{share.hits}/{share.trials}" if share.trials else "-"
        axes.text(1.03, row, text, va="center", fontsize=8, transform=axes.get_yaxis_transform())
    axes.set_xlim(0.0, 1.0)
    axes.set_xticks((0.0, 0.5, 1.0), ("0", "50 %", "100 %"))
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
