"""A small bundle, and ways to read what a replay wrote, for the tests of the replay."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from bag_maker import contents
from small_bundle import write_bundle

TOKENIZER = Path(__file__).parent / "data" / "tokenizer" / "tokenizer.json"

REPEATED = ("actions.csv", "decisions.csv")
"""Tables that a second replay writes the same, byte for byte."""


def make_bundle(folder: Path) -> Path:
    """A small bundle with a tokenizer, in a folder of its own."""
    write_bundle(folder / "small", tokenizer=TOKENIZER)
    return folder / "small"


def table(out: Path, name: str) -> list[dict[str, str]]:
    """Rows of a table of a replay."""
    with (out / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values(row: dict[str, str], names) -> np.ndarray:
    """Some columns of a row, as numbers."""
    return np.array([float(row[name]) for name in names])


def outputs(out: Path) -> tuple:
    """Everything of a replay that must repeat: the tables' bytes and the bag's messages."""
    return *((out / name).read_bytes() for name in REPEATED), contents(out / "bag")
