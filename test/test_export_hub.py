"""Addresses hf://...: which there are, what is fetched, and what a bundle says of it."""

from __future__ import annotations

import fnmatch
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")
hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra 'export')")

from huggingface_hub import utils  # noqa: E402
from official_checkpoint import VOCABULARY, write_checkpoint  # noqa: E402
from reference_bundles import TOKENIZER, Exported, reuse_graphs  # noqa: E402

from octo_ros import cli  # noqa: E402
from octo_ros.engine.bundle import read_bundle  # noqa: E402
from octo_ros.errors import CheckpointError  # noqa: E402
from octo_ros.export import describe as describe_module  # noqa: E402
from octo_ros.export import export_checkpoint  # noqa: E402
from octo_ros.export.hub import Address, fetch_checkpoint, fetch_tokenizer, read_address  # noqa: E402

OCTO = "hf://rail-berkeley/octo-small-1.5"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Stands for the hub: one repository, copied file by file as the library's patterns ask."""

    def __init__(self, repository: Path, cache: Path):
        self.repository = repository
        self.folder = cache / "snapshots" / COMMIT
        self.asked: list[tuple[str, str | None]] = []

    def snapshot_download(self, name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.asked.append((name, revision))
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.repository.rglob("*"):
            relative = path.relative_to(self.repository)
            if path.is_file() and any(fnmatch.fnmatch(str(relative), pattern) for pattern in allow_patterns):
                (self.folder / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, self.folder / relative)
        return str(self.folder)

    def fetched(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def no_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tokenizer of the machine's own."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))


@pytest.fixture
def octo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub with a repository as the released ones are, and with files that no export needs."""
    repository = write_checkpoint(tmp_path / "repository")
    for name in ("README.md", "7/params/checkpoint", "7/default/checkpoint.bak", "7/state"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("not needed")
    later = repository / "100" / "default" / "checkpoint"
    later.parent.mkdir(parents=True)
    shutil.copyfile(repository / "7" / "default" / "checkpoint", later)
    stub = Hub(repository, tmp_path / "cache")
    monkeypatch.setattr(hub, "snapshot_download", stub.snapshot_download)
    return stub


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (OCTO, Address("rail-berkeley", "octo-small-1.5")),
        (f"{OCTO}@v1.0", Address("rail-berkeley", "octo-small-1.5", "v1.0")),
        (f"{OCTO}@refs/pr/1", Address("rail-berkeley", "octo-small-1.5", "refs/pr/1")),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address) -> None:
    assert read_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("path", ["octo-small", "/data/octo", "../octo", "C.octo", "~/octo", "rail/octo"])
def test_a_path_is_no_address(path: str) -> None:
    assert read_address(path) is None
    assert read_address(Path(path)) is None


def test_a_folder_whose_name_is_like_an_address_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hf:octo").mkdir()
    assert read_address("hf:octo") is None


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://octo-small-1.5",
        "hf:///octo",
        "hf://rail-berkeley/",
        "hf://rail-berkeley/octo/small",
        "hf://rail-berkeley/octo@",
        "hf://rail-berkeley/octo@a b",
        "hf://rail-berkeley/../octo",
        "hf://rail berkeley/octo",
        "hf:rail-berkeley/octo",
        "hf:/rail-berkeley/octo",
        "HF://rail-berkeley/octo",
        "https://huggingface.co/rail-berkeley/octo-small-1.5",
    ],
)
def test_another_form_is_one_line_that_says_what_was_expected(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", text, str(tmp_path / "bundle")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "expected hf://owner/name or hf://owner/name@revision, or the path" in line and repr(text) in line
    assert list(tmp_path.iterdir()) == []


SMALL = {"config.json", "dataset_statistics.json", "example_batch.msgpack"}


def test_only_what_a_checkpoint_needs_is_fetched(octo: Hub) -> None:
    assert fetch_checkpoint(read_address(OCTO)) == octo.folder
    assert octo.fetched() == SMALL | {"7/default/checkpoint", "100/default/checkpoint"}
    assert octo.asked == [("rail-berkeley/octo-small-1.5", None)]


def test_only_the_step_asked_for_is_fetched(octo: Hub) -> None:
    fetch_checkpoint(read_address(f"{OCTO}@main"), 7)
    assert octo.fetched() == SMALL | {"7/default/checkpoint"}
    assert octo.asked == [("rail-berkeley/octo-small-1.5", "main")]


@pytest.mark.parametrize("file", [*sorted(SMALL), "7/default/checkpoint"])
def test_a_repository_without_a_checkpoint_says_what_is_missing(octo: Hub, file: str) -> None:
    (octo.repository / file).unlink()
    with pytest.raises(CheckpointError, match=f"{OCTO}: expected an official Octo checkpoint.*{file}"):
        fetch_checkpoint(read_address(OCTO), 7)


def test_a_repository_without_weights_says_so(octo: Hub) -> None:
    for step in ("7", "100"):
        (octo.repository / step / "default" / "checkpoint").unlink()
    with pytest.raises(CheckpointError, match="got none of <step>/default/checkpoint"):
        fetch_checkpoint(read_address(OCTO))


def test_a_bundle_says_which_repository_and_commit_it_is_of(
    octo: Hub, tiny_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reuse_graphs(monkeypatch, tiny_export)
    stages: list[tuple[str, int, int]] = []
    manifest = export_checkpoint(OCTO, tmp_path / "b", step=7, progress=lambda *stage: stages.append(stage))
    entry = read_bundle(tmp_path / "b").checkpoint
    assert entry == manifest.checkpoint
    assert entry["name"] == "octo-small-1.5"
    assert entry["source"] == f"{OCTO}@{COMMIT}"
    assert entry["license"] == "MIT"
    assert stages[0][0] == "fetch"
    assert [done for _, done, _ in stages] == list(range(len(stages)))
    assert str(tmp_path) not in (tmp_path / "b" / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("address", "license", "expected"),
    [
        (OCTO, "CC BY-NC 4.0", "CC BY-NC 4.0"),
        ("hf://rail-berkeley/octo-base", None, "MIT"),
        ("hf://rail-berkeley/something-else", None, "not stated"),
        ("hf://someone/octo-small-1.5", None, "not stated"),
    ],
)
def test_the_licence_is_the_one_given_or_that_of_octo(
    octo: Hub,
    tiny_export: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    license: str | None,
    expected: str,
) -> None:
    reuse_graphs(monkeypatch, tiny_export)
    manifest = export_checkpoint(address, tmp_path / "b", license=license)
    assert manifest.checkpoint["license"] == expected
    assert f"Licence of the weights: **{expected}**" in (tmp_path / "b" / "README.md").read_text()


def test_a_tokenizer_is_fetched_where_it_is_asked_for(
    tiny_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "t5"
    shutil.copytree(TOKENIZER.parent, repository)
    (repository / "model.safetensors").write_text("not needed")
    stub = Hub(repository, tmp_path / "cache")
    monkeypatch.setattr(hub, "snapshot_download", stub.snapshot_download)
    monkeypatch.setattr(describe_module, "vocabulary_size", lambda path: VOCABULARY)
    reuse_graphs(monkeypatch, tiny_export)
    address = "hf://google-t5/t5-base"
    manifest = export_checkpoint(tiny_export.checkpoint, tmp_path / "b", tokenizer=address)
    assert manifest.language.tokenizer_file == "tokenizer.json"
    assert (tmp_path / "b" / "tokenizer.json").read_bytes() == TOKENIZER.read_bytes()
    assert stub.asked == [("google-t5/t5-base", None)]
    assert stub.fetched() == {"tokenizer.json"}


def test_spiece_model_is_fetched_where_there_is_no_tokenizer_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "t5"
    shutil.copytree(TOKENIZER.parent, repository)
    (repository / "tokenizer.json").unlink()
    stub = Hub(repository, tmp_path / "cache")
    monkeypatch.setattr(hub, "snapshot_download", stub.snapshot_download)
    assert fetch_tokenizer(Address("google-t5", "t5-base")) == stub.folder / "spiece.model"
    (repository / "spiece.model").unlink()
    shutil.rmtree(stub.folder)
    with pytest.raises(
        CheckpointError, match=r"hf://google-t5/t5-base: expected .*tokenizer\.json or spiece"
    ):
        fetch_tokenizer(Address("google-t5", "t5-base"))


def test_progress_bars_and_messages_are_as_before(octo: Hub) -> None:
    before = utils.are_progress_bars_disabled(), utils.logging.get_verbosity()
    fetch_checkpoint(read_address(OCTO))
    assert (utils.are_progress_bars_disabled(), utils.logging.get_verbosity()) == before


def test_a_folder_needs_no_network(
    tiny_export: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was used")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(hub, "snapshot_download", refuse)
    reuse_graphs(monkeypatch, tiny_export)
    export_checkpoint(tiny_export.checkpoint, tmp_path / "bundle")
