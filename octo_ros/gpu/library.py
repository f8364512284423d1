"""The `tensorrt` package: its import, its version, and what it logs."""

from __future__ import annotations

import logging
from typing import Any

from octo_ros.errors import ParameterError
from octo_ros.gpu.cuda import INSTALL

OLDEST = 10
"""First major version with everything that is used here: 64-bit integers, strongly typed networks."""

LOGGER = logging.getLogger("octo_ros.tensorrt")


def import_tensorrt() -> Any:
    """The module.

    Raises:
        ParameterError: it is not there, or too old.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise ParameterError(
            f"needs the Python package tensorrt, which cannot be imported ({error}): {INSTALL}; "
            "on a Jetson it comes with JetPack (python3-libnvinfer)"
        ) from error
    version = getattr(tensorrt, "__version__", "0, a folder of that name without the package")
    if int(version.split(".")[0].split(",")[0]) < OLDEST:
        raise ParameterError(f"needs TensorRT {OLDEST} or newer, got {version}")
    return tensorrt


class Messages:
    """Hands TensorRT's messages to Python's logging, and keeps the errors for the exception that follows.

    Attributes:
        logger: for TensorRT.
        errors: since the last `take`.
    """

    def __init__(self, tensorrt: Any) -> None:
        """Args: tensorrt, the module."""
        severities = tensorrt.ILogger.Severity
        failures = (severities.INTERNAL_ERROR, severities.ERROR)
        errors = self.errors = []

        class Logger(tensorrt.ILogger):
            def __init__(self) -> None:
                tensorrt.ILogger.__init__(self)  # the bindings ask for this call by name

            def log(self, severity: Any, text: str) -> None:
                if severity in failures:
                    errors.append(text)
                # Its warnings are of what is meant here, such as inputs of 64 bits.
                LOGGER.log(logging.DEBUG if severity == severities.VERBOSE else logging.INFO, "%s", text)

        self.logger = Logger()

    def start(self, kind: Any) -> Any:
        """A Builder or Runtime of TensorRT that logs here.

        Raises:
            ParameterError: it does not start, as without a driver.
        """
        try:
            return kind(self.logger)
        except TypeError as error:  # how the bindings say that TensorRT gave none
            raise ParameterError(f"TensorRT does not start: {self.take()} ({error})") from error

    def take(self) -> str:
        """The errors so far in one line; they are forgotten."""
        text = "; ".join(self.errors) or "TensorRT gave no reason"
        self.errors.clear()
        return " ".join(text.split())
