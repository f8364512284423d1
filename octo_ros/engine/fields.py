"""Reads a JSON object field by field, so that whatever is wrong in it is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from octo_ros.errors import BundleError

T = TypeVar("T")


class Fields:
    """The fields of one JSON object.

    Each method takes a field out and checks its type; `finish` then refuses what nobody took.
    All raise BundleError: file, path of the field, expected, got.
    """

    def __init__(self, body: Any, file: str, path: str = "") -> None:
        """Args: body, the parsed JSON value; file, for messages; path, where in the file it is."""
        self._file = file
        self._path = path
        if not isinstance(body, dict):
            raise BundleError(f"{file}: {path or 'the whole file'}: expected an object, got {_shown(body)}")
        self._left = dict(body)

    def text(self, name: str) -> str:
        """A string."""
        return self._take(name, "a string", lambda value: isinstance(value, str))

    def flag(self, name: str) -> bool:
        """True or false."""
        return self._take(name, "true or false", lambda value: isinstance(value, bool))

    def integer(self, name: str, minimum: int = 0) -> int:
        """A whole number of at least `minimum`."""
        return self._take(
            name,
            f"a whole number of at least {minimum}",
            lambda value: _is_integer(value) and value >= minimum,
        )

    def number(self, name: str) -> float:
        """A finite number."""
        return float(self._take(name, "a finite number", _is_finite))

    def shape(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers of at least 1."""

        def is_shape(value: Any) -> bool:
            return isinstance(value, list) and all(_is_integer(size) and size >= 1 for size in value)

        return tuple(self._take(name, "a list of whole numbers of at least 1", is_shape))

    def mapping(self, name: str) -> dict[str, Any]:
        """An object, as it is."""
        return self._take(name, "an object", lambda value: isinstance(value, dict))

    def fields(self, name: str) -> Fields:
        """An object, to be read field by field."""
        return Fields(self.mapping(name), self._file, self._at(name))

    def or_none(self, name: str, read: Callable[[str], T]) -> T | None:
        """What `read` takes, or None where the field is null; it must be there."""
        if name in self._left and self._left[name] is None:
            return self._left.pop(name)
        return read(name)

    def each(self) -> Iterator[str]:
        """The names not yet taken; for an object that maps names of its own to values."""
        return iter(list(self._left))

    def finish(self) -> None:
        """Refuses fields that were not taken."""
        if self._left:
            raise BundleError(f"{self._file}: {self._at(sorted(self._left)[0])}: unknown field")

    def fail(self, name: str, expected: str, got: Any) -> BundleError:
        """The error for a field whose value is of the right type but wrong."""
        return BundleError(f"{self._file}: {self._at(name)}: expected {expected}, got {_shown(got)}")

    def _take(self, name: str, expected: str, fits: Callable[[Any], bool]) -> Any:
        if name not in self._left:
            raise BundleError(f"{self._file}: {self._at(name)}: missing; expected {expected}")
        value = self._left.pop(name)
        if not fits(value):
            raise self.fail(name, expected, value)
        return value

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return (_is_integer(value) or isinstance(value, float)) and math.isfinite(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
