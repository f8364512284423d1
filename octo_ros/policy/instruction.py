"""An instruction in words to the tokens of the checkpoint's language model.

The tokenizer is the checkpoint's own file (T5's tokenizer.json or spiece.model), read by the
library that it was made for. What is done around it is what the official inference asks of it: end
mark, cut to the model's length with the end mark kept, padding.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octo_ros.engine.manifest import Language
from octo_ros.errors import BundleError, ObservationError

PAD_ID = 0
END_ID = 1
"""T5's token ids of padding and of the end of a text."""

_CODE_LIKE = re.compile(r"[(){}\[\]<>=;_/\\]|^[A-Z]{2,}$|[a-z][A-Z]")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tokens:
    """An instruction as the "language" graph takes it.

    Attributes:
        input_ids: (1, max_tokens) int64.
        attention_mask: (1, max_tokens) int64, 1 where a token is not padding.
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray


class Tokenizer:
    """Words to tokens, by the tokenizer file of a bundle."""

    def __init__(self, file: Path, language: Language) -> None:
        """Args: file, tokenizer.json or a sentencepiece model; language, of the manifest.

        Raises:
            BundleError: the library that reads the file is missing, or the file cannot be read.
        """
        self._file = file
        self._language = language
        self._ids = _tokenizers_reader(file) if file.suffix == ".json" else _sentencepiece_reader(file)

    def encode(self, instruction: str) -> Tokens:
        """Tokens of an instruction; logs a warning where it was cut or looks like code.

        Raises:
            ObservationError: nothing but blanks.
            BundleError: a token that the checkpoint's embedding table does not have.
        """
        words = checked_instruction(instruction)
        ids = self._ids(words)
        if not ids or ids[-1] != END_ID:
            ids = [*ids, END_ID]
        beyond = max(ids)
        if beyond >= self._language.vocab_size:
            rows = self._language.vocab_size
            raise BundleError(f"{self._file}: gives token {beyond}; the checkpoint's table has {rows} rows")
        length = self._language.max_tokens
        if len(ids) > length:
            message = (
                "instruction %r has %d tokens, the model takes %d: its end is cut off; write a shorter one"
            )
            _log.warning(message, words, len(ids), length)
            ids = [*ids[: length - 1], END_ID]
        return padded(ids, length)


def padded(ids: list[int], length: int) -> Tokens:
    """Token ids, at most `length` of them, padded to it."""
    input_ids = np.full((1, length), PAD_ID, dtype=np.int64)
    input_ids[0, : len(ids)] = ids
    attention_mask = (np.arange(length)[None] < len(ids)).astype(np.int64)
    return Tokens(input_ids, attention_mask)


def no_instruction(length: int) -> Tokens:
    """What the official code gives the network where there are no words: the end mark alone, masked."""
    return padded([END_ID], length)


def checked_instruction(instruction: str) -> str:
    """The instruction without blanks around it; logs a warning where it looks like code.

    Raises:
        ObservationError: nothing but blanks.
    """
    words = instruction.strip()
    if not words:
        raise ObservationError('instruction: empty; write what to do, such as "pick up the red block"')
    if _CODE_LIKE.search(words):
        plain = " ".join(_WORD.findall(words)).lower()
        _log.warning(
            'instruction %r looks like code; the model knows sentences: write one, such as "%s"',
            words,
            plain,
        )
    return words


def _tokenizers_reader(file: Path) -> Callable[[str], list[int]]:
    try:
        from tokenizers import Tokenizer as Reader
    except ImportError as error:
        raise BundleError(
            f"{file}: needs the library tokenizers (pip install tokenizers): {error}"
        ) from error
    try:
        reader = Reader.from_file(str(file))
    except Exception as error:  # the library raises Exception itself
        raise BundleError(f"{file}: not a tokenizer file: {error}") from error
    reader.no_truncation()
    reader.no_padding()
    return lambda words: list(reader.encode(words).ids)


def _sentencepiece_reader(file: Path) -> Callable[[str], list[int]]:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise BundleError(
            f"{file}: needs the library sentencepiece (pip install sentencepiece): {error}"
        ) from error
    try:
        reader = SentencePieceProcessor(model_file=str(file))
    except (RuntimeError, OSError) as error:
        raise BundleError(f"{file}: not a sentencepiece model: {error}") from error
    return lambda words: list(reader.encode(words))
