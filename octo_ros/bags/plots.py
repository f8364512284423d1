"""The report's plots, drawn with matplotlib: actions by axis, the filter's time line, latency."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from octo_ros.bags.log import ReplayLog
from octo_ros.bags.recorded import Comparison
from octo_ros.safety.decision import FilterState
from octo_ros.types import ACTION_AXES, NANOSECONDS

PREDICTED, RECORDED = "#c04f00", "#0b66a8"
"""Colours of the policy's and of the recorded actions, everywhere in the report."""

STATE_COLOURS = {
    FilterState.READY: "#b8bec6",
    FilterState.ACTIVE: "#2a9d6f",
    FilterState.LIMITED: "#9bc53d",
    FilterState.HOLD: "#5b7fb5",
    FilterState.STOPPED: "#e6a100",
    FilterState.ESTOP: "#c0271d",
}

UNITS = {"dx": "m", "dy": "m", "dz": "m", "droll": "rad", "dpitch": "rad", "dyaw": "rad", "gripper": ""}
"""Units of an action's axes, for one step; the gripper's opening has none."""

LEGEND = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "frameon": False, "borderaxespad": 0.1}
"""A legend above the plot, from its left edge."""

WIDTH = 11.0
"""Width of every plot over time [inch]; they share their margins, so their times line up."""

LEFT, RIGHT = 0.215, 0.885
"""Margins of the plots over time, as shares of the width."""

INK, GRID, BAND = "#22262b", "#d9dde2", "#f1f3f6"

STYLE = {
    "figure.dpi": 200,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": "#8a9099",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
}


def action_plot(log: ReplayLog, comparison: Comparison | None) -> str:
    """The seven axes over time, predicted and recorded, with the mean absolute error beside each."""
    times = _seconds([step.stamp_ns for step in log.steps], log)
    predicted = np.array([step.physical for step in log.steps]).reshape(-1, len(ACTION_AXES))
    breaks = _breaks(log, times)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 7.6))
        rows = figure.subplots(len(ACTION_AXES), sharex=True)
        figure.subplots_adjust(LEFT, 0.06, RIGHT, 0.955, hspace=0.28)
        for i, (axis, axes) in enumerate(zip(ACTION_AXES, rows, strict=True)):
            _shade_episodes(axes, log)
            if comparison is not None:
                _line(axes, times, comparison.recorded[:, i], breaks, RECORDED, "recorded")
            _line(axes, times, predicted[:, i], breaks, PREDICTED, "predicted")
            unit = UNITS[axis]
            axes.set_ylabel(f"{axis} [{unit}]" if unit else axis, rotation=0, ha="right", va="center")
            axes.yaxis.set_label_coords(-0.065, 0.5)
            axes.margins(y=0.12)
            axes.locator_params(axis="y", nbins=3)
            axes.grid(axis="y", color=GRID, linewidth=0.6)
            axes.set_axisbelow(True)
            if comparison is not None:
                error = comparison.error[i]
                text = f"{error:.3g} {unit}".rstrip() if np.isfinite(error) else "-"
                axes.text(1.015, 0.5, text, transform=axes.transAxes, va="center")
        if comparison is not None:
            rows[0].text(1.015, 1.22, "mean abs. error", transform=rows[0].transAxes, va="center")
        rows[0].legend(**LEGEND, ncols=2, handlelength=1.4)
        _time_axis(rows[-1], log)
        return _png(figure)


def timeline_plot(log: ReplayLog) -> str:
    """The filter's state, and below it when each kind of limit was met and when frames were missing."""
    rows = _event_rows(log)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.35 + 0.27 * len(rows)))
        height = figure.get_figheight()
        axes = figure.subplots()
        figure.subplots_adjust(LEFT, 0.5 / height, RIGHT, 1.0 - 0.38 / height)
        _shade_episodes(axes, log)
        for state, spans in _state_spans(log).items():
            axes.broken_barh(spans, (-0.32, 0.64), color=STATE_COLOURS[state], linewidth=0, label=state.value)
        for y, (_, times, colour) in enumerate(rows, start=1):
            axes.plot(times, np.full(len(times), y), "|", color=colour, markersize=9, markeredgewidth=1.0)
            axes.text(1.015, y, f"{len(times)} x", transform=axes.get_yaxis_transform(), va="center")
        axes.set_yticks(range(len(rows) + 1), ["filter state", *(name for name, _, _ in rows)])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) + 0.6, -0.6)
        axes.legend(**LEGEND, ncols=len(STATE_COLOURS), handlelength=1.0)
        _time_axis(axes, log)
        return _png(figure)


def latency_plot(log: ReplayLog) -> str:
    """Histogram of the wall-clock time of each action, with its median and 95th percentile."""
    latencies_ms = np.array([step.latency_s for step in log.steps]) * 1e3
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.3))
        axes = figure.subplots()
        figure.subplots_adjust(0.07, 0.21, 0.985, 0.86)
        axes.hist(latencies_ms, bins=min(60, max(20, len(latencies_ms) // 4)), color="#7d8794")
        for percent, dashes in ((50, "-"), (95, "--")):
            value = np.percentile(latencies_ms, percent)
            label = f"p{percent} {value:.1f} ms"
            axes.axvline(value, color=PREDICTED, linestyle=dashes, linewidth=1.4, label=label)
        axes.set_xlim(left=0.0)
        axes.set_xlabel("time of one action [ms]")
        axes.set_ylabel("actions")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(**LEGEND, ncols=2, handlelength=1.8)
        return _png(figure)


def _event_rows(log: ReplayLog) -> list[tuple[str, np.ndarray, str]]:
    """Name, times [s] and colour of every row below the state: limits by frequency, then bad input."""
    counts = Counter(kind for verdict in log.verdicts for kind in verdict.kinds)
    rows = []
    for kind, _ in counts.most_common():
        met = [verdict for verdict in log.verdicts if kind in verdict.kinds]
        stopped = met[0].state in (FilterState.HOLD, FilterState.STOPPED, FilterState.ESTOP)
        colour = STATE_COLOURS[met[0].state] if stopped else INK
        rows.append((kind, _seconds([verdict.now_ns for verdict in met], log), colour))
    frames: dict[str, list[int]] = {}
    for now_ns, refusal in log.frame_refusals:
        frames.setdefault(f"camera {refusal.camera}: {refusal.reason}", []).append(now_ns)
    if log.failures:
        frames["policy refused its input"] = [now_ns for now_ns, _ in log.failures]
    for one in log.unreadable:
        frames.setdefault(f"unreadable: {one.topic}", []).append(one.log_ns)
    return rows + [(name, _seconds(stamps, log), "#6a3d9a") for name, stamps in frames.items()]


def _state_spans(log: ReplayLog) -> dict[FilterState, list[tuple[float, float]]]:
    """State to its spans (start, length) [s]."""
    spans: dict[FilterState, list[tuple[float, float]]] = {}
    ends = (
        [now_ns for now_ns, _ in log.states[1:]] + [max(log.end_ns, log.states[-1][0])] if log.states else []
    )
    for (start_ns, state), end_ns in zip(log.states, ends, strict=True):
        start, end = _seconds([start_ns, end_ns], log)
        spans.setdefault(state, []).append((start, end - start))
    return {state: spans[state] for state in STATE_COLOURS if state in spans}


def _line(
    axes: Axes, times: np.ndarray, values: np.ndarray, breaks: Sequence[int], colour: str, label: str
) -> None:
    """A line with a dot at each step, interrupted where an episode ends."""
    times, values = np.insert(times, breaks, np.nan), np.insert(values, breaks, np.nan)
    dots = 2.2 if len(times) < 600 else 0.0
    axes.plot(times, values, "o-", color=colour, linewidth=1.1, markersize=dots, label=label)


def _breaks(log: ReplayLog, times: np.ndarray) -> list[int]:
    """Indices of the steps that begin an episode, or come after a pause of more than a second."""
    episodes = [step.episode for step in log.steps]
    return [
        i for i in range(1, len(episodes)) if episodes[i] != episodes[i - 1] or times[i] - times[i - 1] > 1.0
    ]


def _shade_episodes(axes: Axes, log: ReplayLog) -> None:
    if len(log.episodes) < 2:
        return
    starts = _seconds([episode.start_ns for episode in log.episodes], log)
    ends = [*starts[1:], (log.end_ns - log.start_ns) / NANOSECONDS]
    for start, end in list(zip(starts, ends, strict=True))[::2]:
        axes.axvspan(start, end, color=BAND, linewidth=0, zorder=0)


def _time_axis(axes: Axes, log: ReplayLog) -> None:
    length = max((log.end_ns - log.start_ns) / NANOSECONDS, 0.1)
    axes.set_xlim(-0.005 * length, 1.005 * length)
    note = "; every second episode is shaded" if len(log.episodes) > 1 else ""
    axes.set_xlabel(f"time in the bag [s]{note}")


def _seconds(stamps_ns: Sequence[int], log: ReplayLog) -> np.ndarray:
    return (np.array(stamps_ns, dtype=np.int64) - log.start_ns) / NANOSECONDS


def _png(figure: Figure) -> str:
    """The figure as base64 PNG."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode("ascii")
