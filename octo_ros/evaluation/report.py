"""The results of an evaluation as files: evaluation.json, evaluation.md and evaluation.png."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from octo_ros.evaluation.plot import draw
from octo_ros.evaluation.score import Evaluation
from octo_ros.evaluation.settings import Setting
from octo_ros.evaluation.share import Share

JSON, TABLE, PICTURE = "evaluation.json", "evaluation.md", "evaluation.png"


@dataclass(frozen=True)
class Row:
    """One setting and what came of it."""

    setting: Setting
    result: Evaluation


@dataclass(frozen=True)
class Report:
    """All rows of an evaluation.

    Attributes:
        facts: what was evaluated: name to value.
        rows: the first is what the others are compared with.
        left_out: settings that say nothing of the bundle, with the reason.
    """

    facts: Mapping[str, object]
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Writes the three files."""
        (folder / JSON).write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")
        (folder / TABLE).write_text(self.markdown(), encoding="utf-8")
        draw([row.result for row in self.rows], [self.verdict(row) for row in self.rows], folder / PICTURE)

    def as_json(self) -> dict[str, object]:
        """Everything."""
        settings = [{**row.result.as_json(), "verdict": self.verdict(row)} for row in self.rows]
        return {**self.facts, "settings": settings, "left_out": dict(self.left_out)}

    def verdict(self, row: Row) -> str:
        """Of a row that must fail: whether it does, by intervals that do not meet; "" of any other."""
        if not row.setting.must_fail:
            return ""
        worse = row.result.success.interval[1] < self.rows[0].result.success.interval[0]
        return "fails visibly, as it must" if worse else "MUST FAIL, AND IS NOT SEEN TO"

    def markdown(self) -> str:
        """A table with a row for each setting, one of the first setting's instructions, and what to know."""
        first = self.rows[0].result
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        parts = [
            "# Evaluation\n",
            f"{facts}. Intervals are Wilson's at 95 %.\n",
            _table(self._columns(), [self._cells(row) for row in self.rows]),
            f'Of the setting "{first.setting}":\n',
            _table(
                ["instruction", "success"],
                [[name, str(share)] for name, share in first.by_instruction().items()],
            ),
        ]
        if self.left_out:
            lines = [f"- {name}: {reason}" for name, reason in self.left_out.items()]
            parts.append("\n".join(["Left out, as they say nothing of this bundle:\n", *lines, ""]))
        return "\n".join(parts)

    def _swapped(self) -> bool:
        return any(row.result.changed.trials for row in self.rows)

    def _columns(self) -> list[str]:
        swapped = ["other words, other cube", "both times the named cube"] if self._swapped() else []
        return [
            *("setting", "success", "approached the named cube", *swapped, "actions limited"),
            *("stopped by the filter", "s to success", "action age"),
        ]

    def _cells(self, row: Row) -> list[str]:
        result, verdict = row.result, self.verdict(row)
        swapped = [str(result.changed), str(result.followed)] if self._swapped() else []
        return [
            f"{result.setting} ({verdict})" if verdict else result.setting,
            str(result.success),
            str(result.as_named),
            *swapped,
            _percent(result.limited),
            f"{result.stopped.hits}/{result.stopped.trials}",
            "-" if result.seconds is None else f"{result.seconds:.1f}",
            "-" if result.age_s is None else f"{result.age_s * 1000:.0f} ms",
        ]


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _percent(share: Share) -> str:
    """A share of so many trials that nobody wants to read their number."""
    return f"{share.value:.1%}" if share.trials else "-"
