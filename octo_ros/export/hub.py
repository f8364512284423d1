"""Fetches a checkpoint or a tokenizer from the Hugging Face hub, where an address `hf://...` asks for it.

Nothing else in this package uses the network. What was fetched stays in the library's own cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo_ros.errors import CheckpointError, OctoRosError
from octo_ros.export.tokenizer import FILES as TOKENIZER_FILES

CHECKPOINT_FILES = ("config.json", "dataset_statistics.json", "example_batch.msgpack")
"""What a checkpoint has beside its weights."""

_FORM = "hf://owner/name or hf://owner/name@revision"
_ADDRESS = re.compile(r"hf://([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)(?:@(\w[\w./-]*))?", re.ASCII)
_LIKE_AN_ADDRESS = re.compile(r"hf:|\w+://", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Address:
    """A repository on the hub.

    Attributes:
        owner: user or organisation.
        name: of the repository.
        revision: branch, tag or commit, or None for the main branch.
    """

    owner: str
    name: str
    revision: str | None = None

    @property
    def repository(self) -> str:
        """As the hub names it."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")

    def fetched(self, folder: Path) -> str:
        """The address of exactly what lies in a folder of the cache: with its commit, if it names one."""
        revision = folder.name if _COMMIT.fullmatch(folder.name) else self.revision
        return str(Address(self.owner, self.name, revision))


def read_address(given: str | Path) -> Address | None:
    """The address that a text is, or None for a path.

    Raises:
        CheckpointError: an address of another form.
    """
    text = str(given)
    if not _LIKE_AN_ADDRESS.match(text) or Path(text).exists():
        return None
    match = _ADDRESS.fullmatch(text)
    if match is None or ".." in text:
        raise CheckpointError(f"expected {_FORM}, or the path of a folder that exists, got {text!r}")
    return Address(*match.groups())


def fetch_checkpoint(address: Address, step: int | None = None) -> Path:
    """Brings a checkpoint into the local cache; the folder it then lies in.

    Args:
        address: of its repository.
        step: training step whose weights to fetch, or None for all that are there.

    Raises:
        CheckpointError: the hub cannot be reached, refuses, or has no such checkpoint.
        OctoRosError: the library huggingface_hub is missing.
    """
    weights = f"{'[0-9]*' if step is None else step}/default/checkpoint"
    folder = _snapshot(address, [*CHECKPOINT_FILES, weights])
    missing = [name for name in CHECKPOINT_FILES if not (folder / name).is_file()]
    if not any(path.is_file() for path in folder.glob(weights)):
        missing.append("<step>/default/checkpoint" if step is None else weights)
    if missing:
        raise CheckpointError(
            f"{address}: expected an official Octo checkpoint, got none of {', '.join(missing)} (from the "
            "repository, or from the cache where the hub cannot be reached); name another step or "
            "repository, or pass a complete checkpoint's folder"
        )
    return folder


def fetch_tokenizer(address: Address) -> Path:
    """Brings a tokenizer's one file into the local cache; its path.

    Raises:
        CheckpointError: the hub cannot be reached, refuses, or has no such file.
        OctoRosError: the library huggingface_hub is missing.
    """
    for file in TOKENIZER_FILES:
        path = _snapshot(address, [file]) / file
        if path.is_file():
            return path
    raise CheckpointError(
        f"{address}: expected a repository with {' or '.join(TOKENIZER_FILES)}, got none of them "
        "(from the repository, or from the cache where the hub cannot be reached); pass the file itself"
    )


def _snapshot(address: Address, patterns: list[str]) -> Path:
    """The folder of the cache with the files of those names."""
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants, utils
    except ImportError as error:
        raise OctoRosError(
            f"{address}: needs the Python package huggingface_hub, which cannot be imported ({error}): "
            "install octo_ros with its extra 'export', or download it elsewhere and pass the folder"
        ) from error
    with _quiet(utils):
        try:
            folder = hub.snapshot_download(
                address.repository, revision=address.revision, allow_patterns=patterns
            )
        except Exception as error:  # the library's errors share no narrower base
            raise CheckpointError(
                f"{address}: {_reason(error, address, utils, constants)}; or download the repository "
                "elsewhere and pass its folder"
            ) from error
    return Path(folder)


def _reason(error: Exception, address: Address, utils: Any, constants: Any) -> str:
    """What went wrong, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, utils.GatedRepoError):
        return (
            "the repository is gated: accept its terms on the hub and log in (`hf auth login`, or HF_TOKEN)"
        )
    if isinstance(error, utils.RevisionNotFoundError):
        return f"the repository has no revision {address.revision or 'main'!r}: name another one"
    if isinstance(error, utils.RepositoryNotFoundError) or status in (401, 403):
        return (
            "no such repository, or none that you may read: check the name, or log in "
            "(`hf auth login`, or HF_TOKEN)"
        )
    if isinstance(error, utils.LocalEntryNotFoundError):
        if constants.HF_HUB_OFFLINE:
            return "not in the cache, and HF_HUB_OFFLINE forbids to fetch it: unset that"
        return f"the hub cannot be reached, and the cache has no copy ({_line(error)}): check the network"
    return f"the download failed ({type(error).__name__}: {_line(error)}): try again"


def _line(error: Exception) -> str:
    """An error's text on one line, not too long."""
    cause = error.__cause__ or error
    return " ".join(str(cause).split())[:200] or type(cause).__name__


@contextmanager
def _quiet(utils: Any) -> Iterator[None]:
    """Keeps the library's progress bars and warnings off the screen: an error says it all."""
    level, hidden = utils.logging.get_verbosity(), utils.are_progress_bars_disabled()
    utils.logging.set_verbosity_error()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.logging.set_verbosity(level)
        if not hidden:
            utils.enable_progress_bars()
