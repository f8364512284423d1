"""Work that can be spread over many steps: a generator yields after each piece, and returns the result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")

Pieces = Generator[None, None, Result]
"""Pieces of about half a millisecond."""


def finished(pieces: Pieces[Result]) -> Result:
    """The result of the work, all done now."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value
