"""The report: one HTML page that holds everything it shows."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np

from octo_ros.bags.log import Episode, ReplayLog
from octo_ros.bags.overlay import arrow_scale, framed_action
from octo_ros.bags.plots import PREDICTED, RECORDED, UNITS, action_plot, latency_plot, timeline_plot
from octo_ros.bags.recorded import Comparison
from octo_ros.bags.summary import ReplaySummary
from octo_ros.bags.thumbnails import Thumbnail

REPORT = "report.html"

FRAMES_OF_EPISODE = ((4, 4), (12, 2))
"""At most so many episodes to so many frames of each; one frame of each where there are more."""

EPISODES_SHOWN = 60
"""Most episodes whose frames are shown, evenly spread."""

RESET = {
    True: "An instruction resets it, as an operator would.",
    False: "Nothing resets it, so a stop lasts to the end of the bag.",
}
"""What an instruction does, by `Setting.reset`."""

NOT_RATED = (
    "The safety filter is not safety-rated: it belongs behind the robot's own safety functions, "
    "never in their place."
)

STYLE = f"""
:root {{ --ink: #22262b; --soft: #5c646e; --line: #d9dde2; --band: #f1f3f6; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #fff; color: var(--ink);
  font: 14px/1.5 "DejaVu Sans", Verdana, sans-serif; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 28px 24px 48px; }}
h1 {{ font-size: 24px; line-height: 1.25; margin: 0 0 4px; }}
h2 {{ font-size: 17px; margin: 36px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); }}
p {{ margin: 0 0 10px; }}
.soft {{ color: var(--soft); }}
.banner {{ border-left: 6px solid; padding: 9px 14px; margin: 10px 0 0; }}
.alarm {{ border-color: #b3261e; background: #fdecea; color: #7a1410; font-weight: bold; }}
.warning {{ border-color: #b77900; background: #fff6e0; color: #5b3d00; }}
.numbers {{ display: grid; grid-template-columns: repeat(6, 1fr); gap: 10px; margin: 18px 0 14px; }}
.number {{ background: var(--band); padding: 10px 12px; }}
.number b {{ display: block; font-size: 20px; line-height: 1.3; }}
.number span {{ color: var(--soft); font-size: 12px; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; vertical-align: top; padding: 3px 18px 3px 0; font-weight: normal; }}
th {{ color: var(--soft); width: 140px; }}
td {{ overflow-wrap: anywhere; }}
td.count {{ text-align: right; font-variant-numeric: tabular-nums; }}
.columns {{ display: grid; grid-template-columns: 1fr 1fr; gap: 0 32px; }}
img {{ display: block; width: 100%; height: auto; }}
.episodes {{ display: grid; gap: 16px 20px; margin-top: 12px; }}
.episode {{ display: flex; flex-direction: column; justify-content: end; }}
.episode h3 {{ display: flex; gap: 6px; margin: 0 0 5px;
  font-size: 13px; font-weight: normal; line-height: 1.4; }}
.episode h3 span {{ color: var(--soft); }}
.frames {{ display: grid; gap: 8px; align-items: start; }}
.frames svg {{ display: block; width: 100%; height: auto; max-height: 220px; font-family: inherit; }}
.key {{ display: inline-block; width: 22px; height: 4px; margin: 0 6px 3px 0; vertical-align: middle; }}
.key.predicted {{ background: {PREDICTED}; }}
.key.recorded {{ background: {RECORDED}; }}
@media print {{ h2 {{ break-after: avoid; }} .episode {{ break-inside: avoid; }} }}
"""


def write_report(
    directory: Path, summary: ReplaySummary, log: ReplayLog, comparison: Comparison | None
) -> None:
    """Writes report.html to `directory`."""
    setting = summary.setting
    title = f"{Path(setting.bag).name or setting.bag} through {setting.checkpoint} on {_robot(setting.robot)}"
    body = [
        f"<h1>{escape(title)}</h1>",
        '<p class="soft">octo_ros replay, by recorded stamps</p>',
        *_banners(summary),
        _numbers(summary),
        _setting(summary),
        _frames(log, comparison),
        _actions(summary, log, comparison),
        _safety(summary, log),
        _latency(summary, log),
        f'<p class="soft" style="margin-top:36px">{NOT_RATED}</p>',
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )
    (directory / REPORT).write_text(page, encoding="utf-8")


def _banners(summary: ReplaySummary) -> list[str]:
    """The bundle's notice and what shouts in capitals in red, other warnings below."""
    alarms = [summary.setting.notice] if summary.setting.notice else []
    alarms += [warning for warning in summary.warnings if _shouts(warning)]
    others = [warning for warning in summary.warnings if not _shouts(warning)]
    return [f'<div class="banner alarm" role="alert">{escape(text)}</div>' for text in alarms] + [
        f'<div class="banner warning">{escape(text)}</div>' for text in others
    ]


def _shouts(warning: str) -> bool:
    return warning[:8].isupper()


def _numbers(summary: ReplaySummary) -> str:
    latency = "-" if summary.latency_p50_s is None else f"{summary.latency_p50_s * 1e3:.0f} ms"
    numbers = {
        "frames read": str(sum(summary.frames.values())),
        "episodes": str(summary.episodes),
        "actions": str(summary.actions),
        "commands": str(summary.commands),
        "stops": str(summary.stops),
        "median latency": latency,
    }
    cells = "".join(
        f'<div class="number"><b>{value}</b><span>{name}</span></div>' for name, value in numbers.items()
    )
    return f'<div class="numbers">{cells}</div>'


def _setting(summary: ReplaySummary) -> str:
    setting = summary.setting
    joints = (
        "an ideal arm that follows the commands" if setting.joints == "follower" else "recorded in the bag"
    )
    left = {
        "bag": setting.bag,
        "length": f"{summary.duration_s:.1f} s",
        "bundle": setting.bundle,
        "statistics": setting.dataset,
        "backend": setting.backend,
        "instruction": setting.instruction or "from the bag",
    }
    right = {
        "robot": setting.robot,
        "joint states": joints,
        "policy rate": f"{setting.rate_hz:g} Hz",
        "data set's rate": f"{setting.data_rate_hz:g} Hz",
        "seed": "none" if setting.seed is None else str(setting.seed),
        "cameras masked": ", ".join(setting.masked) or "none",
    }
    topics = ", ".join(f"{name} from {topic}" for name, topic in setting.topics.items())
    return (
        f'<div class="columns">{_rows(left)}{_rows(right)}</div>'
        f'<p class="soft" style="margin-top:8px">{escape(topics)}</p>'
    )


def _frames(log: ReplayLog, comparison: Comparison | None) -> str:
    episodes = [episode for episode in log.episodes if log.thumbnails.episodes.get(episode.index)]
    if not episodes:
        return ""
    each = next((frames for most, frames in FRAMES_OF_EPISODE if len(episodes) <= most), 1)
    shown = _spread(episodes, EPISODES_SHOWN)
    pictures = {episode.index: _spread(log.thumbnails.episodes[episode.index], each) for episode in shown}
    steps = [thumbnail.step for thumbnails in pictures.values() for thumbnail in thumbnails]
    full_m = arrow_scale(np.array([log.steps[step].physical for step in steps]))
    cards = "".join(
        _card(episode, pictures[episode.index], each, log, comparison, full_m) for episode in shown
    )
    left_out = len(log.episodes) - len(shown)
    note = f" {left_out} episodes are not shown." if left_out else ""
    legend = _legend(comparison is not None)
    columns = {4: 1, 2: 2, 1: 4}[each]
    return (
        "<h2>Frames and actions</h2>"
        f"<p>{legend}. The arrow is dx (up) and dy (left) in the robot's base axes, from the frame's middle; "
        f"the bars are dz and the gripper (full is open). Their full length is {full_m * 1e3:.0f} mm a step. "
        f"It is a scheme: without a camera calibration nothing is projected into the frame.{note}</p>"
        f'<div class="episodes" style="grid-template-columns:repeat({columns},1fr)">{cards}</div>'
    )


def _card(
    episode: Episode,
    thumbnails: list[Thumbnail],
    each: int,
    log: ReplayLog,
    comparison: Comparison | None,
    full_m: float,
) -> str:
    frames = "".join(
        framed_action(
            thumbnail,
            log.steps[thumbnail.step].physical,
            comparison.recorded[thumbnail.step] if comparison is not None else None,
            full_m,
        )
        for thumbnail in thumbnails
    )
    words = escape(episode.instruction) if episode.instruction else '<span class="soft">goal image</span>'
    return (
        f'<div class="episode"><h3><span>{episode.index + 1}.</span> {words}</h3>'
        f'<div class="frames" style="grid-template-columns:repeat({each},1fr)">{frames}</div></div>'
    )


def _actions(summary: ReplaySummary, log: ReplayLog, comparison: Comparison | None) -> str:
    if not log.steps:
        return ""
    if comparison is None:
        heading, text = "Predicted actions", "The bag holds no recorded actions to compare with."
    else:
        heading = "Predicted against recorded actions"
        text = f"{summary.compared} of {summary.actions} actions have a recorded one within half a step."
        if summary.recorded_not_finite:
            text += f" {summary.recorded_not_finite} recorded actions hold NaN or infinity and are left out."
    units = "Metres and radians for one step at the data set's rate; the gripper is 1 open, 0 closed."
    errors = "" if summary.error is None else _errors(summary.error)
    picture = _picture(action_plot(log, comparison), "seven plots of the action's axes over time; " + errors)
    return f"<h2>{heading}</h2><p>{text} {units}</p>{picture}"


def _errors(error: Mapping[str, float | None]) -> str:
    parts = [
        f"{axis} {value:.3g} {UNITS[axis]}".rstrip() for axis, value in error.items() if value is not None
    ]
    return "mean absolute errors: " + ", ".join(parts)


def _safety(summary: ReplaySummary, log: ReplayLog) -> str:
    decisions = "".join(_count_row(name, count) for name, count in summary.decisions.items())
    refusals = "".join(_count_row(name, count) for name, count in summary.refusals.items())
    frames = "".join(_count_row(f"camera {name}", count) for name, count in summary.frame_refusals.items())
    tables = (
        f"<div><p><b>Decisions</b></p><table>{decisions or _none()}</table></div>"
        f"<div><p><b>Limits met</b></p><table>{refusals + frames or _none()}</table></div>"
    )
    unreadable = "".join(
        f"<tr><td>{escape(one['topic'])}</td><td>{one['log_ns']} ns</td><td>{escape(one['reason'])}</td></tr>"
        for one in summary.unreadable_examples
    )
    if unreadable:
        unreadable = (
            f"<p style='margin-top:14px'><b>Messages that could not be used: {summary.unreadable}</b></p>"
            f"<table>{unreadable}</table>"
        )
    picture = _picture(timeline_plot(log), "time line of the filter's state and of the limits that were met")
    return (
        "<h2>What the safety filter did</h2><p>The state, and a mark for each decision that met a limit. "
        "While the filter holds the arm that is repeated ten times a second. "
        f"{RESET[summary.setting.reset]}</p>{picture}"
        f'<div class="columns" style="margin-top:12px">{tables}</div>{unreadable}'
    )


def _latency(summary: ReplaySummary, log: ReplayLog) -> str:
    if not log.steps:
        return ""
    return (
        "<h2>Latency</h2><p>Wall-clock time from a set of frames to its action on this machine. "
        "The replay goes by the bag's time, so it changes no action.</p>"
        + _picture(latency_plot(log), "histogram of the latency")
    )


def _rows(entries: dict[str, str]) -> str:
    rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in entries.items())
    return f"<table>{rows}</table>"


def _count_row(name: str, count: int) -> str:
    return f'<tr><td>{escape(name)}</td><td class="count">{count}</td></tr>'


def _none() -> str:
    return "<tr><td>none</td></tr>"


def _legend(recorded: bool) -> str:
    keys = '<span class="key predicted"></span>predicted'
    return keys + (' &nbsp; <span class="key recorded"></span>recorded' if recorded else "")


def _picture(png: str, alt: str) -> str:
    return f'<img src="data:image/png;base64,{png}" alt="{escape(alt)}">'


def _robot(robot: str) -> str:
    return Path(robot).stem


def _spread(items: list, most: int) -> list:
    """At most so many of the items, evenly spread."""
    if len(items) <= most:
        return items
    return [items[int((i + 0.5) * len(items) / most)] for i in range(most)]
