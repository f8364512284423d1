"""Processes that have not imported huggingface_hub yet, which reads its settings when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path


class HubProcesses:
    """Starts one Python that imports what an export needs, and forks it for each run. A context manager."""

    def __enter__(self) -> HubProcesses:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._server.stdout.close()

    def run(self, folder: Path, environment: Mapping[str, str], code: str) -> tuple[int, str, str]:
        """Exit status, output and errors of Python code under these settings; `folder` is for its output."""
        paths = [str(folder / name) for name in ("stdout.txt", "stderr.txt")]
        print(json.dumps([dict(environment), code, *paths]), file=self._server.stdin, flush=True)
        status = int(self._server.stdout.readline())
        out, err = (Path(path).read_text(encoding="utf-8") for path in paths)
        return status, out, err


def _serve() -> None:
    import octo_ros.export.bundle  # noqa: F401

    assert "huggingface_hub" not in sys.modules
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(environment: dict[str, str], code: str, *paths: str) -> None:
    status = 1
    try:
        os.environ.clear()
        os.environ.update(environment)
        for number, path in enumerate(paths, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        exec(code, {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
