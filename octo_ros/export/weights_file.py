"""One file for the weights of all graphs of a bundle: what two graphs share is stored once.

It is plain external data as the ONNX standard has it: each initializer of a graph says where in the
file it lies. A runtime may map the file into memory instead of reading it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx import numpy_helper

FILE = "weights.bin"

SMALLEST = 1024
"""Bytes below which an initializer stays in its graph."""

ALIGNMENT = 4096
"""Offsets are multiples of this many bytes, a page of memory."""


class WeightsFile:
    """The file while it is written. Use it as a context manager."""

    def __init__(self, directory: Path):
        self._path = directory / FILE
        self._places: dict[bytes, int] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> WeightsFile:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        if not self._places:
            self._path.unlink()

    def take(self, model: onnx.ModelProto) -> None:
        """Moves a graph's large initializers into the file; equal bytes are written once."""
        for tensor in model.graph.initializer:
            content = numpy_helper.to_array(tensor).tobytes()
            if len(content) >= SMALLEST:
                self._refer(tensor, self._place(content), len(content))

    def _place(self, content: bytes) -> int:
        digest = hashlib.sha256(content).digest()
        if digest not in self._places:
            self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))
            self._places[digest] = self._file.tell()
            self._file.write(content)
        return self._places[digest]

    @staticmethod
    def _refer(tensor: onnx.TensorProto, offset: int, length: int) -> None:
        dims, kind, name = list(tensor.dims), tensor.data_type, tensor.name
        tensor.Clear()
        tensor.name, tensor.data_type, tensor.data_location = name, kind, onnx.TensorProto.EXTERNAL
        tensor.dims.extend(dims)
        for key, value in (("location", FILE), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
