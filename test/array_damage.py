"""Damage to the two files of arrays, the example batch and the weights, and what must be said of each."""

from __future__ import annotations

import msgpack
import numpy as np
from checkpoint_edits import (
    CONFIG,
    EXAMPLE,
    INCOMPLETE,
    KERNEL,
    T5,
    WEIGHTS,
    Damage,
    add_block,
    chunks,
    cut,
    drop_block,
    edit_packed,
    ids,
    observation,
    packed,
    tail,
    task,
    weight,
    write,
    zeros,
)
from official_checkpoint import LENGTH, VOCABULARY, pack, pack_array

EXAMPLES: dict[str, Damage] = {
    "cut": Damage(cut(EXAMPLE, 0.7), EXAMPLE, INCOMPLETE),
    "empty": Damage(write(EXAMPLE, b""), EXAMPLE, INCOMPLETE),
    "a list": Damage(write(EXAMPLE, msgpack.packb([1])), EXAMPLE, "expected a dictionary, got list"),
    "without task": Damage(edit_packed(EXAMPLE, lambda tree: tree.pop("task")), EXAMPLE, "'task'"),
    "an observation that is a number": Damage(
        edit_packed(EXAMPLE, lambda tree: tree.update(observation=3)), EXAMPLE, "'observation'"
    ),
    "a camera missing": Damage(
        observation(image_wrist=None), "", rf"left over: .*tokenizers_wrist.*{EXAMPLE}"
    ),
    "no camera": Damage(
        observation(image_wrist=None, image_primary=None), EXAMPLE, "no tokenizer finds a key it takes"
    ),
    "floating point images": Damage(observation(image_wrist=zeros(1, 2, 16, 16, 3)), EXAMPLE, "image_wrist"),
    "images of four channels": Damage(
        observation(image_wrist=zeros(1, 2, 16, 16, 4, dtype=np.uint8)), EXAMPLE, "image_wrist"
    ),
    "images of no size": Damage(
        observation(image_wrist=zeros(1, 2, 0, 0, 3, dtype=np.uint8)),
        CONFIG,
        "obs_wrist.*images are too small",
    ),
    "images without time": Damage(
        observation(image_wrist=zeros(1, 16, 16, 3, dtype=np.uint8)), EXAMPLE, "image_wrist"
    ),
    "cameras of other windows": Damage(
        observation(image_wrist=zeros(1, 3, 16, 16, 3, dtype=np.uint8)), EXAMPLE, "image_wrist|window"
    ),
    "an image smaller than a patch": Damage(
        observation(image_wrist=zeros(1, 2, 8, 8, 3, dtype=np.uint8)),
        CONFIG,
        "obs_wrist.*images are too small",
    ),
    "another image size than the weights'": Damage(
        observation(image_wrist=zeros(1, 2, 32, 32, 3, dtype=np.uint8)), "", "obs_wrist_pos_embedding"
    ),
    "no timestep mask": Damage(observation(timestep_pad_mask=None), EXAMPLE, "timestep_pad_mask"),
    "a timestep mask of another window": Damage(
        observation(timestep_pad_mask=np.ones((1, 3), bool)),
        EXAMPLE,
        r"image_primary: expected \('batch', 3, ",
    ),
    "no instruction": Damage(
        edit_packed(EXAMPLE, lambda tree: tree["task"].pop("language_instruction")),
        "",
        rf"left over: .*tokenizers_language.*{EXAMPLE}",
    ),
    "an instruction that is a number": Damage(
        task(language_instruction=3), "", rf"left over: .*tokenizers_language.*{EXAMPLE}"
    ),
    "an instruction without its mask": Damage(
        edit_packed(EXAMPLE, lambda tree: tree["task"]["language_instruction"].pop("attention_mask")),
        EXAMPLE,
        "attention_mask",
    ),
    "an instruction with a mask of another length": Damage(
        task(language_instruction={**ids(LENGTH), "attention_mask": np.ones((1, LENGTH - 1), np.int64)}),
        EXAMPLE,
        r"language_instruction: expected integers \(batch, tokens\) twice",
    ),
    "an instruction of another length": Damage(
        task(language_instruction=ids(LENGTH + 2)),
        "",
        r"task_language_pos_embedding: expected shape \(1, 8, 16\)",
    ),
    "an instruction of fractions": Damage(
        task(language_instruction={**ids(LENGTH), "input_ids": zeros(1, LENGTH)}),
        EXAMPLE,
        "language_instruction: expected integers",
    ),
    "an instruction with ids beyond the embedding": Damage(
        task(language_instruction={**ids(LENGTH), "input_ids": np.full((1, LENGTH), VOCABULARY)}),
        EXAMPLE,
        f"input_ids: expected ids below {VOCABULARY}",
    ),
    "a goal image of another size": Damage(
        task(image_primary=zeros(1, 16, 16, 3, dtype=np.uint8)), EXAMPLE, "image_primary"
    ),
}

WEIGHTS_FILES: dict[str, Damage] = {
    "cut early": Damage(cut(WEIGHTS, 0.01), WEIGHTS, INCOMPLETE),
    "cut late": Damage(cut(WEIGHTS, 0.999), WEIGHTS, INCOMPLETE),
    "with a tail": Damage(tail(WEIGHTS, b"\x00"), WEIGHTS, INCOMPLETE),
    "of no bytes": Damage(write(WEIGHTS, b""), WEIGHTS, INCOMPLETE),
    "not msgpack": Damage(write(WEIGHTS, b"\xc1" * 100), WEIGHTS, INCOMPLETE),
    "too deep": Damage(write(WEIGHTS, b"\x81\xa1a" * 5000), WEIGHTS, INCOMPLETE),
    "empty": Damage(write(WEIGHTS, pack({})), WEIGHTS, "holds no weights"),
    "a list": Damage(write(WEIGHTS, msgpack.packb([1])), WEIGHTS, "expected a dictionary, got list"),
    "under numbers": Damage(write(WEIGHTS, msgpack.packb({1: {}})), WEIGHTS, INCOMPLETE),
    "of doubles": Damage(
        weight(KERNEL, zeros(12, 16, dtype=np.float64)), WEIGHTS, f"{KERNEL}: expected float32, got float64"
    ),
    "of halves": Damage(
        weight(KERNEL, zeros(12, 16, dtype=np.float16)), WEIGHTS, f"{KERNEL}: expected float32, got float16"
    ),
    "of bfloat16": Damage(
        weight(KERNEL, packed([1], "bfloat16", b"\0\0")), WEIGHTS, f"{KERNEL}: .*'bfloat16'"
    ),
    "of objects": Damage(weight(KERNEL, packed([1], "object", b"\0" * 8)), WEIGHTS, f"{KERNEL}: .*'object'"),
    "with NaN": Damage(
        weight(KERNEL, np.full((12, 16), np.nan, np.float32)), WEIGHTS, f"{KERNEL}: .*not finite"
    ),
    "with infinity": Damage(
        weight(KERNEL, np.full((12, 16), np.inf, np.float32)), WEIGHTS, f"{KERNEL}: .*not finite"
    ),
    "stored elsewhere": Damage(
        weight(KERNEL, "PLACEHOLDER://kernel"), WEIGHTS, f"{KERNEL}: expected an array, got 'PLACEHOLDER"
    ),
    "of too few bytes": Damage(
        weight(KERNEL, packed([12, 16], "float32", b"\0" * 8)), WEIGHTS, f"{KERNEL}: .*expected 768 bytes"
    ),
    "of a negative size": Damage(weight(KERNEL, packed([-1, 16], "float32", b"")), WEIGHTS, f"{KERNEL}: "),
    "of sizes that are words": Damage(
        weight(KERNEL, packed(["a"], "float32", b"")), WEIGHTS, f"{KERNEL}: not a packed array"
    ),
    "of two parts": Damage(
        weight(KERNEL, msgpack.ExtType(1, msgpack.packb((1, 2)))), WEIGHTS, f"{KERNEL}: not a packed array"
    ),
    "a complex number": Damage(
        weight(KERNEL, packed([1], "float32", b"\0" * 4, kind=2)), WEIGHTS, f"{KERNEL}: .*extension type"
    ),
    "a chunk missing": Damage(
        weight(KERNEL, chunks(shape={"0": 2}, chunks={"1": pack_array(zeros(2))})),
        WEIGHTS,
        f"{KERNEL}: a chunked array is malformed",
    ),
    "chunks of another size": Damage(
        weight(KERNEL, chunks(shape={"0": 3}, chunks={"0": pack_array(zeros(2))})),
        WEIGHTS,
        f"{KERNEL}: a chunked array is malformed",
    ),
    "chunks without a shape": Damage(
        weight(KERNEL, chunks()), WEIGHTS, f"{KERNEL}: a chunked array is malformed"
    ),
    "one missing": Damage(weight(KERNEL, None), "", f"weights missing: {KERNEL}; left over: none"),
    "one left over": Damage(
        edit_packed(WEIGHTS, lambda tree: tree.update(extra=zeros(1))), "", "missing: none; left over: extra"
    ),
    "transposed": Damage(weight(KERNEL, zeros(16, 12)), "", rf"{KERNEL}: expected shape \(12, 16\), got"),
    "a scalar": Damage(weight(KERNEL, zeros()), "", rf"{KERNEL}: expected shape \(12, 16\), got \(\)"),
    "a block too many": Damage(edit_packed(WEIGHTS, add_block), "", "left over: .*encoderblock_2"),
    "a block too few": Damage(
        edit_packed(WEIGHTS, drop_block), "", "missing: .*encoderblock_1.* and 11 more"
    ),
    "no language embedding": Damage(weight(f"{T5}/shared/embedding", None), "", "shared/embedding: missing"),
    "a language embedding of one axis": Damage(
        weight(f"{T5}/shared/embedding", zeros(40)), "", "shared/embedding: expected a matrix"
    ),
}
