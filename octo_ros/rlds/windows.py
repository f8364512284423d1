"""Where the episodes of a recording begin and end: by markers, else by instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octo_ros.rlds.episode import OUTCOMES

ABORT = "abort"

MARKERS = '"begin <instruction>" or "end success|failure|abort"'
"""What a marker may say; "end unknown" and "end" alone are taken too, and mean that nobody judged."""


@dataclass(frozen=True)
class Window:
    """A stretch of a recording that may be an episode.

    Attributes:
        index: in the recording, from 0.
        start_ns, end_ns: log times [ns].
        success: as the marker at its end says, None where none does.
        marked: whether markers bound it; else its ends are cut to where every stream has data.
        fault: why it is no episode, or "".
    """

    index: int
    instruction: str
    start_ns: int
    end_ns: int
    success: bool | None = None
    marked: bool = False
    fault: str = ""


def by_markers(entries: Sequence[tuple[int, str]], end_ns: int) -> tuple[list[Window], list[str]]:
    """Windows of markers, and what was passed over and why.

    Args:
        entries: log time [ns] and text of each marker, in order.
        end_ns: of the recording [ns].
    """
    windows: list[Window] = []
    warnings: list[str] = []
    begun: tuple[int, str] | None = None

    def close(stop_ns: int, success: bool | None, fault: str) -> None:
        start_ns, instruction = begun or (stop_ns, "")
        fault = fault or ("" if instruction else "it begins without an instruction")
        windows.append(Window(len(windows), instruction, start_ns, stop_ns, success, True, fault))

    for log_ns, text in entries:
        word, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        if word == "begin":
            if begun is not None:
                close(log_ns, None, "the next episode begins before this one's end marker")
            begun = (log_ns, rest)
        elif word == "end" and rest in ("", ABORT, *OUTCOMES):
            if begun is None:
                warnings.append(f"marker {text!r} at {log_ns} ns: no episode had begun; passed over")
                continue
            close(log_ns, OUTCOMES.get(rest), "the operator aborted it" if rest == ABORT else "")
            begun = None
        else:
            warnings.append(f"marker {text!r} at {log_ns} ns: expected {MARKERS}; passed over")
    if begun is not None:
        close(end_ns, None, "the recording ends before its end marker")
    return windows, warnings


def by_instructions(entries: Sequence[tuple[int, str]], end_ns: int) -> list[Window]:
    """A window from each instruction to the next; a blank one ends the window before it.

    Args:
        entries: log time [ns] and instruction, in order.
        end_ns: of the recording [ns].
    """
    windows = []
    ends = [log_ns - 1 for log_ns, _ in entries[1:]] + [end_ns]
    for (start_ns, text), stop_ns in zip(entries, ends, strict=True):
        if text.strip():
            windows.append(Window(len(windows), text.strip(), start_ns, stop_ns))
    return windows
