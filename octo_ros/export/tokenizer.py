"""Finds the checkpoint's text tokenizer on this machine; nothing is downloaded here."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from octo_ros.errors import CheckpointError

FILES = ("tokenizer.json", "spiece.model")
"""File names of a tokenizer, the preferred one first."""

_log = logging.getLogger(__name__)


def find_tokenizer(given: str | Path | None, name: str) -> Path | None:
    """The tokenizer's file: the one given, or the one of that name in the local Hugging Face cache.

    Args:
        given: path of a tokenizer.json or spiece.model, or of a folder that holds one, or None.
        name: the checkpoint's name of its tokenizer ("t5-base").

    Returns:
        The file, or None where nothing was given and the cache has none; a warning then says what to
        pass.

    Raises:
        CheckpointError: what was given is no such file or folder.
    """
    if given is not None:
        return _given_file(Path(given))
    for folder in _cached_folders(name):
        for file in FILES:
            if (folder / file).is_file():
                return folder / file
    _log.warning(
        "no tokenizer %r in the Hugging Face cache (%s): the bundle takes token ids but no sentences; "
        "export again with --tokenizer and its tokenizer.json or spiece.model%s",
        name,
        _cache(),
        _commands(name),
    )
    return None


def vocabulary_size(path: Path) -> int:
    """One more than the largest id the tokenizer can give.

    Raises:
        CheckpointError: the file cannot be read as a tokenizer.
    """
    try:
        if path.suffix == ".json":
            from tokenizers import Tokenizer

            return 1 + max(Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True).values())
        from sentencepiece import SentencePieceProcessor

        processor = SentencePieceProcessor()
        processor.LoadFromSerializedProto(path.read_bytes())
        return processor.GetPieceSize()
    except Exception as error:  # both libraries raise bare exceptions for malformed files
        raise CheckpointError(f"{path}: not a tokenizer: {error}") from error


def _given_file(path: Path) -> Path:
    files = [path / file for file in FILES] if path.is_dir() else [path]
    for file in files:
        if file.is_file() and file.suffix in (".json", ".model"):
            return file
    raise CheckpointError(f"{path}: expected {' or '.join(FILES)}, or a folder that holds one")


def _commands(name: str) -> str:
    """How to get the tokenizer of that name."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, re.ASCII):
        return ""
    repository = f"google-t5/{name}" if name.startswith("t5-") else name
    fetch = f"fetch it into the cache by `hf download {repository} {FILES[0]}`"
    return f", or {fetch}" + (f", or pass --tokenizer hf://{repository}" if "/" in repository else "")


def _cached_folders(name: str) -> list[Path]:
    """Folders of the tokenizer's snapshots in the cache, its main revision first."""
    if not name or ".." in name:
        return []
    folders = []
    for repository in (name, f"google-t5/{name}") if "/" not in name else (name,):
        root = _cache() / f"models--{repository.replace('/', '--')}"
        reference = root / "refs" / "main"
        snapshots = sorted((root / "snapshots").glob("*"))
        if reference.is_file():
            main = root / "snapshots" / reference.read_text(encoding="utf-8").strip()
            snapshots.sort(key=lambda folder: folder != main)
        folders.extend(snapshots)
    return folders


def _cache() -> Path:
    """The Hugging Face cache, by the environment variables its documentation gives."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(variable):
            return Path(value).expanduser()
    if value := os.environ.get("HF_HOME"):
        return Path(value).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"
