"""The words of a model trained from scratch: a small tokenizer of the data's instructions, and a small T5.

Both go into the checkpoint's own folder `t5_words`, under the names that the official code looks for,
so that the official code, run from inside the checkpoint's folder, loads it unchanged.
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from octo_ros.engine.manifest import Language
from octo_ros.errors import CheckpointError
from octo_ros.model.t5 import MAX_DISTANCE, T5Sizes
from octo_ros.policy.instruction import Tokenizer, Tokens, no_instruction

FOLDER = "t5_words"
"""Name of the folder, the tokenizer and the language encoder; the official code asks for a "t5" in it."""

FILE = "tokenizer.json"
PIECES = 1000
"""Pieces of the vocabulary, at most."""

_SPECIAL = ("<pad>", "</s>", "<unk>")
"""In the order of T5's ids."""

_ROWS = 64
"""The embedding table's rows are a multiple of this."""


def small_t5(vocabulary: int) -> T5Sizes:
    """A T5 encoder for a few hundred words."""
    rows = -(-vocabulary // _ROWS) * _ROWS
    return T5Sizes(rows, width=64, inner=64, feed_forward=128, layers=2, heads=4, buckets=32, gated=False)


def learn_words(instructions: Sequence[str], folder: Path) -> int:
    """Writes a tokenizer of the data's words, the most frequent first, and of all letters, digits and marks.

    Any other word is spelled, so that no instruction is refused; the model knows nothing of it, though.

    Args:
        instructions: of the data, repeated as they are.
        folder: an existing one.

    Returns:
        Size of the vocabulary.
    """
    from tokenizers import Tokenizer as Learned
    from tokenizers import models, normalizers, pre_tokenizers, processors

    pad, end, unknown = _SPECIAL
    cut = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in instructions for word, _ in cut.pre_tokenize_str(text.lower()))
    letters = sorted({*string.ascii_lowercase, *string.digits, *"".join(counts)})
    pieces = [*_SPECIAL, *sorted({*letters, *string.punctuation}), *(f"##{letter}" for letter in letters)]
    words = sorted((word for word in counts if word not in pieces), key=lambda word: (-counts[word], word))
    pieces += words[: max(PIECES - len(pieces), 0)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    learned = Learned(models.WordPiece(vocab=vocabulary, unk_token=unknown))
    learned.normalizer = normalizers.Lowercase()
    learned.pre_tokenizer = cut
    learned.add_special_tokens(list(_SPECIAL))
    learned.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, vocabulary[end])]
    )
    learned.save(str(folder / FILE))
    own = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad,
        "eos_token": end,
        "unk_token": unknown,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(own) + "\n", encoding="utf-8")
    return len(pieces)


def write_t5_config(sizes: T5Sizes, folder: Path) -> None:
    """Writes the language encoder's sizes as the library `transformers` reads them."""
    body = {
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        "vocab_size": sizes.vocabulary,
        "d_model": sizes.width,
        "d_kv": sizes.inner // sizes.heads,
        "d_ff": sizes.feed_forward,
        "num_layers": sizes.layers,
        "num_heads": sizes.heads,
        "relative_attention_num_buckets": sizes.buckets,
        "relative_attention_max_distance": MAX_DISTANCE,
        "feed_forward_proj": "gated-gelu" if sizes.gated else "relu",
        "dropout_rate": 0.0,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
    (folder / "config.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


class Encoder:
    """Instructions to tokens, exactly as the policy makes them; none to the official padding.

    Args:
        file: tokenizer.json or a sentencepiece model.
        length: tokens of an instruction.
        rows: of the model's embedding table.
        name: what the checkpoint calls the tokenizer.

    Raises:
        CheckpointError: a tokenizer with more words than the table has rows.
    """

    def __init__(self, file: Path, length: int, rows: int, name: str):
        from octo_ros.export.tokenizer import vocabulary_size

        if (size := vocabulary_size(file)) > rows:
            raise CheckpointError(
                f"{file}: expected ids below {rows}, the rows of the embedding, got ids up to {size - 1}"
            )
        self._tokenizer = Tokenizer(file, Language(length, rows, name, file.name))
        self._length = length

    def __call__(self, instruction: str) -> Tokens:
        """Tokens of an instruction, empty where there is none."""
        return self._tokenizer.encode(instruction) if instruction.strip() else no_instruction(self._length)
