"""Every kind of damage to a checkpoint, by file, and what must be said of each."""

from __future__ import annotations

import shutil
from pathlib import Path

from array_damage import EXAMPLES, WEIGHTS_FILES
from checkpoint_edits import (
    CONFIG,
    EXAMPLE,
    STATISTICS,
    WEIGHTS,
    Damage,
    action,
    cut,
    edit_json,
    folder,
    keywords,
    model,
    nothing,
    remove,
    rename_step,
    step_is_a_file,
    words,
    write,
)
from official_checkpoint import LENGTH, STEP, VOCABULARY

TOKENIZER = Path(__file__).parent / "data" / "tokenizer" / "tokenizer.json"


def tokenizer(content: str | bytes, name: str = "tokenizer.json") -> Damage:
    return Damage(write(name, content), name, f"{name}: not a tokenizer", ("--tokenizer", f"{{}}/{name}"))


FILES: dict[str, Damage] = {
    "config missing": Damage(remove(CONFIG), CONFIG, "missing; an official Octo checkpoint has this file"),
    "statistics missing": Damage(remove(STATISTICS), STATISTICS, "missing; an official Octo checkpoint has"),
    "example missing": Damage(remove(EXAMPLE), EXAMPLE, "missing; an official Octo checkpoint has this file"),
    "weights missing": Damage(remove(WEIGHTS), WEIGHTS, "missing; an official Octo checkpoint has this file"),
    "config a folder": Damage(folder(CONFIG), CONFIG, "missing; an official Octo checkpoint has this file"),
    "statistics a folder": Damage(folder(STATISTICS), STATISTICS, "missing; an official Octo checkpoint has"),
    "example a folder": Damage(
        folder(EXAMPLE), EXAMPLE, "missing; an official Octo checkpoint has this file"
    ),
    "weights a folder": Damage(
        folder(WEIGHTS), WEIGHTS, "missing; an official Octo checkpoint has this file"
    ),
    "no step": Damage(rename_step("latest"), "", "no weights: expected a folder named by a step"),
    "step a file": Damage(step_is_a_file, "", "no weights: expected a folder named by a step"),
    "step unfinished": Damage(
        rename_step("7.orbax-checkpoint-tmp-1"), "", "no weights: expected a folder named by a step"
    ),
    "another step asked for": Damage(nothing, "", r"step 8 is not there; .*\[7\]", ("--step", "8")),
    "step without default": Damage(
        lambda directory: (directory / f"{STEP}/default").rename(directory / f"{STEP}/params"),
        WEIGHTS,
        "missing; an official Octo checkpoint has this file",
    ),
    "another data set asked for": Damage(
        nothing, "", r"no data set 'third'; .*\['first', 'second'\]", ("--dataset", "third")
    ),
    "a file in place of the folder": Damage(
        lambda directory: (shutil.rmtree(directory), directory.write_bytes(b"")), "", "not a directory"
    ),
}

CONFIGURATIONS: dict[str, Damage] = {
    "cut": Damage(cut(CONFIG, 0.5), CONFIG, "not JSON"),
    "empty": Damage(write(CONFIG, ""), CONFIG, "not JSON"),
    "a list": Damage(write(CONFIG, "[]"), CONFIG, "expected a JSON object, got list"),
    "not UTF-8": Damage(write(CONFIG, b"\xff\xfe{}"), CONFIG, "not JSON"),
    "too deep": Damage(write(CONFIG, '{"a":' * 100_000), CONFIG, "not JSON"),
    "no model": Damage(edit_json(CONFIG, lambda body: body.pop("model")), CONFIG, "model"),
    "a model that is a list": Damage(edit_json(CONFIG, lambda body: body.update(model=[])), CONFIG, "model"),
    "no heads": Damage(model(lambda body: body.pop("heads")), CONFIG, "heads"),
    "no action head": Damage(model(lambda body: body.update(heads={})), CONFIG, "heads"),
    "an unknown head": Damage(
        model(lambda body: body["heads"]["action"].update(name="FlowActionHead")), CONFIG, "FlowActionHead"
    ),
    "an unknown tokenizer": Damage(
        model(lambda body: body["observation_tokenizers"]["wrist"].update(name="PointCloudTokenizer")),
        CONFIG,
        "PointCloudTokenizer",
    ),
    "an unknown encoder": Damage(
        model(lambda body: body["observation_tokenizers"]["wrist"]["kwargs"]["encoder"].update(name="Dino")),
        CONFIG,
        "Dino",
    ),
    "an unknown keyword": Damage(keywords("heads", "action", num_blocs=2), CONFIG, "num_blocs"),
    "a word for a number": Damage(
        keywords("heads", "action", diffusion_steps="4"), CONFIG, "diffusion_steps"
    ),
    "a negative size": Damage(model(lambda body: body.update(token_embedding_size=-16)), CONFIG, "token_emb"),
    "a width that heads do not divide": Damage(
        model(lambda body: body["transformer_kwargs"].update(num_attention_heads=3)), CONFIG, "heads"
    ),
    "a readout that is not there": Damage(
        keywords("heads", "action", readout_key="readout_value"), CONFIG, "readout_value"
    ),
    "position embeddings shorter than the window": Damage(
        model(lambda body: body.update(max_horizon=1)), EXAMPLE, "window|max_horizon"
    ),
    "no text processor": Damage(
        edit_json(CONFIG, lambda body: body.update(text_processor=None)), CONFIG, "text_processor: expected"
    ),
    "a text processor of another kind": Damage(
        edit_json(CONFIG, lambda body: body["text_processor"].update(name="MuseEmbedding", kwargs={})),
        EXAMPLE,
        "expected a text_processor HFTokenizer .*, got MuseEmbedding",
    ),
    "another length of instructions": Damage(
        words(tokenizer_kwargs={"max_length": LENGTH + 1}), CONFIG, f"max_length: expected {LENGTH}"
    ),
    "words encoded by the text processor": Damage(
        words(encode_with_model=True), EXAMPLE, "HFTokenizer without encode_with_model"
    ),
}

STATISTICS_FILES: dict[str, Damage] = {
    "cut": Damage(cut(STATISTICS, 0.9), STATISTICS, "not JSON"),
    "a list": Damage(write(STATISTICS, "[]"), STATISTICS, "expected a JSON object, got list"),
    "empty": Damage(write(STATISTICS, "{}"), STATISTICS, "names no data set"),
    "without action": Damage(
        write(STATISTICS, '{"a": {}}'), STATISTICS, "a: expected an object with 'action'"
    ),
    "six means": Damage(action("mean", [0.0] * 6), STATISTICS, "second: action: mean: expected 7 numbers"),
    "means of words": Damage(action("mean", ["0"] * 7), STATISTICS, "mean: expected 7 numbers"),
    "NaN": Damage(action("std", [float("nan")] * 7), STATISTICS, "std: expected finite numbers"),
    "deviations of zero": Damage(action("std", [0.0] * 7), STATISTICS, "std: expected positive numbers"),
    "a mask of numbers": Damage(action("mask", [1] * 7), STATISTICS, "mask: expected 7 booleans"),
    "minimum above maximum": Damage(action("min", [9.0] * 7), STATISTICS, "min: expected at most max"),
}

TOKENIZERS: dict[str, Damage] = {
    "missing": Damage(
        nothing, "none.json", r"expected tokenizer\.json or spiece\.model", ("--tokenizer", "{}/none.json")
    ),
    "a folder without one": Damage(
        lambda directory: (directory / "words").mkdir(),
        "words",
        r"expected tokenizer\.json or spiece\.model",
        ("--tokenizer", "{}/words"),
    ),
    "of another kind of file": Damage(
        write("words.txt", "words"),
        "words.txt",
        r"expected tokenizer\.json or spiece\.model",
        ("--tokenizer", "{}/words.txt"),
    ),
    "cut": tokenizer(TOKENIZER.read_bytes()[:-100]),
    "JSON of something else": tokenizer("{}"),
    "of no bytes": tokenizer(""),
    "a wrong SentencePiece file": tokenizer(b"\x0awords", "spiece.model"),
    "ids beyond the embedding": Damage(
        write("tokenizer.json", TOKENIZER.read_bytes()),
        "tokenizer.json",
        f"expected ids below {VOCABULARY}, .*'t5-base'",
        ("--tokenizer", "{}/tokenizer.json"),
    ),
    "a malformed address": Damage(
        nothing, "hf://t5-base", "expected hf://owner/name", ("--tokenizer", "hf://t5-base")
    ),
}

ALL: dict[str, Damage] = {
    f"{group}: {name}": damage
    for group, kinds in {
        "files": FILES,
        "config": CONFIGURATIONS,
        "statistics": STATISTICS_FILES,
        "example": EXAMPLES,
        "weights": WEIGHTS_FILES,
        "tokenizer": TOKENIZERS,
    }.items()
    for name, damage in kinds.items()
}
