"""Addresses hf://... where the hub refuses or cannot be reached: one line each, and nothing written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")
hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra 'export')")

from hub_processes import HubProcesses  # noqa: E402
from huggingface_hub import utils  # noqa: E402
from official_checkpoint import write_checkpoint  # noqa: E402
from reference_bundles import Exported  # noqa: E402

from octo_ros import cli  # noqa: E402
from octo_ros.errors import OctoRosError  # noqa: E402
from octo_ros.export import export_checkpoint  # noqa: E402

OCTO = "hf://rail-berkeley/octo-small-1.5"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNREACHABLE = {"HF_ENDPOINT": "http://127.0.0.1:9"}
OFFLINE = {"HF_HUB_OFFLINE": "1"}


def refusal(kind: type[Exception], status: int | None = None) -> Exception:
    """An error of the library's kind, whose text has two lines as theirs do."""

    class Refusal(kind):
        def __init__(self) -> None:
            Exception.__init__(self, "No.\nRequest ID: 7")

    error = Refusal()
    error.response = type("Response", (), {"status_code": status})()
    return error


REFUSALS: dict[str, tuple[Exception, str]] = {
    "gated": (refusal(utils.GatedRepoError, 403), "gated: accept its terms .* log in"),
    "unknown": (
        refusal(utils.RepositoryNotFoundError, 404),
        "no such repository, .* check the name, or log in",
    ),
    "unauthorized": (refusal(utils.HfHubHTTPError, 401), "no such repository, or none that you may read"),
    "forbidden": (refusal(utils.HfHubHTTPError, 403), "no such repository, or none that you may read"),
    "no such revision": (refusal(utils.RevisionNotFoundError, 404), "no revision 'v9': name another one"),
    "unreachable": (
        refusal(utils.LocalEntryNotFoundError),
        "the hub cannot be reached, .* check the network",
    ),
    "server error": (refusal(utils.HfHubHTTPError, 503), r"the download failed \(.*\): try again"),
    "interrupted": (
        ConnectionResetError("reset\nby peer"),
        "the download failed .*reset by peer.*: try again",
    ),
    "disk full": (OSError(28, "No space left on device"), "the download failed .*No space left.*: try again"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("of", ["checkpoint", "tokenizer"])
def test_a_refusal_is_one_line_that_says_what_to_do(
    tiny_export: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    of: str,
) -> None:
    error, said = REFUSALS[name]

    def refuse(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    address = f"{OCTO}@v9"
    arguments = [address, str(tmp_path / "b")]
    if of == "tokenizer":
        arguments = [str(tiny_export.checkpoint), str(tmp_path / "b"), "--tokenizer", address]
    assert cli.main(["export", *arguments]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"octo_ros: {address}: ")
    assert re.search(said, line), line
    assert line.endswith("or download the repository elsewhere and pass its folder")
    assert list(tmp_path.iterdir()) == []


def test_the_absent_library_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(OctoRosError, match="needs the Python package huggingface_hub.* extra 'export'"):
        export_checkpoint(OCTO, tmp_path / "bundle")


@pytest.fixture(scope="module")
def processes() -> Iterator[HubProcesses]:
    with HubProcesses() as started:
        yield started


def settings_for(home: Path, settings: dict[str, str]) -> dict[str, str]:
    """An environment in which the library's cache lies in `home`, empty or ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    kept.pop("HUGGINGFACE_HUB_CACHE", None)
    return {**kept, "HF_HOME": str(home), **settings}


def command(*arguments: str) -> str:
    """What `octo_ros` does, as code."""
    return f"import sys; from octo_ros import cli; sys.exit(cli.main({list(arguments)!r}))"


WITHOUT_NETWORK = pytest.mark.parametrize(
    ("settings", "said"),
    [
        (UNREACHABLE, "the hub cannot be reached, and the cache has no copy"),
        (OFFLINE, "not in the cache, and HF_HUB_OFFLINE forbids to fetch it"),
        ({**UNREACHABLE, **OFFLINE}, "not in the cache, and HF_HUB_OFFLINE forbids to fetch it"),
    ],
    ids=["unreachable", "offline", "both"],
)


def check_refusal(result: tuple[int, str, str], said: str) -> None:
    status, out, err = result
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"octo_ros: {OCTO}: ") and said in line
    assert line.endswith("or download the repository elsewhere and pass its folder")


@WITHOUT_NETWORK
@pytest.mark.parametrize("of", ["checkpoint", "tokenizer"])
def test_without_network_the_real_library_gives_one_line_and_nothing_is_written(
    tiny_export: Exported,
    tmp_path: Path,
    processes: HubProcesses,
    settings: dict[str, str],
    said: str,
    of: str,
) -> None:
    parent = tmp_path / "bundles"
    parent.mkdir()
    arguments = [OCTO, str(parent / "b")]
    if of == "tokenizer":
        arguments = [str(tiny_export.checkpoint), str(parent / "b"), "--tokenizer", OCTO]
    environment = settings_for(tmp_path / "home", settings)
    check_refusal(processes.run(tmp_path, environment, command("export", *arguments)), said)
    assert list(parent.iterdir()) == []


def test_without_network_a_process_of_its_own_says_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "octo_ros.cli", "export", OCTO, str(tmp_path / "new" / "bundle")],
        capture_output=True,
        text=True,
        env=settings_for(tmp_path / "home", UNREACHABLE),
        timeout=120,
    )
    check_refusal((done.returncode, done.stdout, done.stderr), "the hub cannot be reached")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("settings", [UNREACHABLE, OFFLINE], ids=["unreachable", "offline"])
def test_without_network_the_cache_is_used(
    tmp_path: Path, processes: HubProcesses, settings: dict[str, str]
) -> None:
    repository = tmp_path / "home" / "hub" / "models--rail-berkeley--octo-small-1.5"
    folder = write_checkpoint(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    code = (
        "from octo_ros.export.hub import fetch_checkpoint, read_address; "
        f"print(fetch_checkpoint(read_address({OCTO!r}), 7))"
    )
    environment = settings_for(tmp_path / "home", settings)
    _, out, err = processes.run(tmp_path, environment, code)
    assert (out.strip(), err) == (str(folder), "")
    (folder / "config.json").unlink()
    arguments = ("export", OCTO, str(tmp_path / "new" / "bundle"))
    _, _, err = processes.run(tmp_path, environment, command(*arguments))
    (line,) = err.splitlines()
    assert f"octo_ros: {OCTO}: expected an official Octo checkpoint, got none of config.json" in line
    assert not (tmp_path / "new").exists()
