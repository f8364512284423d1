"""Finding the text tokenizer: given, in the cache, or not at all."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from octo_ros.errors import CheckpointError
from octo_ros.export.tokenizer import find_tokenizer, vocabulary_size

DATA = Path(__file__).parent / "data" / "tokenizer"
CACHE_VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache."""
    for variable in CACHE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(cache: Path, repository: str, revision: str, file: str) -> Path:
    """Puts a tokenizer into the cache, as huggingface_hub lays it out."""
    blob = cache / repository / "blobs" / "0123"
    blob.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(DATA / file, blob)
    path = cache / repository / "snapshots" / revision / file
    path.parent.mkdir(parents=True)
    path.symlink_to(blob)
    return path


@pytest.mark.parametrize("repository", ["models--t5-base", "models--google-t5--t5-base"])
@pytest.mark.parametrize("file", ["tokenizer.json", "spiece.model"])
def test_found_in_the_cache(cache: Path, repository: str, file: str) -> None:
    path = snapshot(cache, repository, "abc", file)
    assert find_tokenizer(None, "t5-base") == path


def test_the_main_revision_is_preferred(cache: Path) -> None:
    snapshot(cache, "models--t5-base", "aaa", "tokenizer.json")
    main = snapshot(cache, "models--t5-base", "bbb", "tokenizer.json")
    (cache / "models--t5-base" / "refs").mkdir()
    (cache / "models--t5-base" / "refs" / "main").write_text("bbb\n")
    assert find_tokenizer(None, "t5-base") == main


@pytest.mark.parametrize(
    ("variable", "below"),
    [("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")],
)
def test_the_cache_is_where_the_environment_says(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, below: str
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    path = snapshot(tmp_path / "elsewhere" / below, "models--t5-base", "abc", "tokenizer.json")
    assert find_tokenizer(None, "t5-base") == path


@pytest.mark.parametrize("name", ["t5-base", "someone/t5", "../../etc", ""])
def test_not_found_is_one_warning_that_says_what_to_pass(
    cache: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert find_tokenizer(None, name) is None
    assert len(caplog.records) == 1
    assert "tokenizer.json or spiece.model" in caplog.text


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        (
            "t5-base",
            ["`hf download google-t5/t5-base tokenizer.json`", "--tokenizer hf://google-t5/t5-base"],
        ),
        ("someone/t5", ["`hf download someone/t5 tokenizer.json`", "--tokenizer hf://someone/t5"]),
        ("distilbert-base-uncased", ["`hf download distilbert-base-uncased tokenizer.json`"]),
        ("t5; rm -rf /", []),
    ],
)
def test_the_warning_gives_the_exact_command(
    cache: Path, caplog: pytest.LogCaptureFixture, name: str, commands: list[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        find_tokenizer(None, name)
    assert all(command in caplog.text for command in commands)
    assert ("hf download" in caplog.text) == bool(commands)
    assert ("hf://" in caplog.text) == (len(commands) > 1)


@pytest.mark.parametrize("file", ["tokenizer.json", "spiece.model"])
def test_a_given_file_or_its_folder_is_taken(tmp_path: Path, file: str) -> None:
    shutil.copyfile(DATA / file, tmp_path / file)
    assert find_tokenizer(tmp_path, "t5-base") == tmp_path / file
    assert find_tokenizer(tmp_path / file, "t5-base") == tmp_path / file


@pytest.mark.parametrize("name", ["missing.json", "empty", "notes.txt"])
def test_a_given_path_that_is_no_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json or spiece\.model"):
        find_tokenizer(tmp_path / name, "t5-base")


def test_vocabulary_is_counted_by_the_largest_id() -> None:
    pytest.importorskip("tokenizers")
    body = json.loads((DATA / "tokenizer.json").read_text())
    ids = [*range(len(body["model"]["vocab"])), *(token["id"] for token in body["added_tokens"])]
    assert vocabulary_size(DATA / "tokenizer.json") == max(ids) + 1


def test_vocabulary_of_a_sentencepiece_model() -> None:
    pytest.importorskip("sentencepiece")
    pytest.importorskip("tokenizers")
    body = json.loads((DATA / "tokenizer.json").read_text())
    assert 0 < vocabulary_size(DATA / "spiece.model") <= len(body["model"]["vocab"]) + 1


@pytest.mark.parametrize("file", ["tokenizer.json", "spiece.model"])
def test_a_cut_tokenizer_is_refused(tmp_path: Path, file: str) -> None:
    pytest.importorskip("tokenizers" if file == "tokenizer.json" else "sentencepiece")
    content = (DATA / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="not a tokenizer"):
        vocabulary_size(tmp_path / file)
