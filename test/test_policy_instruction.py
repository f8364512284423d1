"""Words to tokens, as Hugging Face's T5 tokenizers give them."""

from __future__ import annotations

import builtins
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from octo_ros.engine.bundle import Language
from octo_ros.errors import BundleError, ObservationError
from octo_ros.policy.instruction import Tokenizer, no_instruction

DATA = Path(__file__).parent / "data" / "tokenizer"
FILES = {"tokenizer.json": "tokenizers", "spiece.model": "sentencepiece"}


def tokenizer(name: str, max_tokens: int = 16, vocab_size: int = 200) -> Tokenizer:
    pytest.importorskip(FILES[name])
    return Tokenizer(DATA / name, Language(max_tokens, vocab_size, "small-t5", name))


@pytest.mark.parametrize("name", FILES)
def test_equals_hugging_face(name: str) -> None:
    reader = tokenizer(name)
    for case in json.loads((DATA / "expected.json").read_text()):
        tokens = reader.encode(case["instruction"])
        assert tokens.input_ids.tolist() == [case["input_ids"]], case["instruction"]
        assert tokens.attention_mask.tolist() == [case["attention_mask"]], case["instruction"]


@pytest.mark.parametrize("name", FILES)
def test_a_cut_instruction_keeps_its_end_and_warns(name: str, caplog: pytest.LogCaptureFixture) -> None:
    tokens = tokenizer(name, max_tokens=4).encode("put the spoon into the sink and close the drawer")
    assert tokens.input_ids[0, -1] == 1
    assert tokens.attention_mask.tolist() == [[1, 1, 1, 1]]
    assert "the model takes 4: its end is cut off" in caplog.text


def test_a_file_that_does_not_add_the_end_gets_it(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    body = json.loads((DATA / "tokenizer.json").read_text())
    body["post_processor"] = None
    body["truncation"] = {"max_length": 2, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(body))
    bare = Tokenizer(tmp_path / "tokenizer.json", Language(16, 200, "small-t5", "tokenizer.json"))
    expected = tokenizer("tokenizer.json").encode("open the drawer").input_ids
    assert bare.encode("open the drawer").input_ids.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("instruction", "advice"),
    [
        ("PICK(red_block)", "pick red block"),
        ("pick_up_spoon", "pick up spoon"),
        ("openDrawer", "open drawer"),
        ("GRASP", "grasp"),
        ("robot.move(x=1)", "robot move x 1"),
    ],
)
def test_code_is_read_but_warned_of(instruction: str, advice: str, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer("tokenizer.json").encode(instruction)
    assert f'write one, such as "{advice}"' in caplog.text


@pytest.mark.parametrize(
    "instruction", ["pick up the red block", "Put it on the USB hub.", "don't stop, please", "A"]
)
def test_sentences_are_not_warned_of(instruction: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokenizer("tokenizer.json", max_tokens=64).encode(instruction)
    assert caplog.text == ""


@pytest.mark.parametrize("instruction", ["", "  \n"])
def test_an_empty_instruction_says_what_to_write(instruction: str) -> None:
    with pytest.raises(ObservationError, match="empty; write what to do"):
        tokenizer("tokenizer.json").encode(instruction)


def test_blanks_around_the_words_do_not_count() -> None:
    reader = tokenizer("tokenizer.json")
    assert (
        reader.encode(" open the drawer\n").input_ids.tolist()
        == reader.encode("open the drawer").input_ids.tolist()
    )


def test_a_token_beyond_the_embedding_table_is_an_error() -> None:
    with pytest.raises(BundleError, match=r"json: gives token \d+; the checkpoint's table has 5 rows"):
        tokenizer("tokenizer.json", vocab_size=5).encode("open the drawer")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_tokenizer(name: str, tmp_path: Path) -> None:
    pytest.importorskip(FILES[name])
    (tmp_path / name).write_text("{}")
    with pytest.raises(BundleError, match=name):
        Tokenizer(tmp_path / name, Language(16, 200, "small-t5", name))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_library_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *arguments: Any, **keywords: Any) -> Any:
        if module == FILES[name]:
            raise ImportError(module)
        return real(module, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BundleError, match=f"pip install {FILES[name]}"):
        Tokenizer(DATA / name, Language(16, 200, "small-t5", name))


def test_no_instruction_is_the_end_mark_alone() -> None:
    tokens = no_instruction(4)
    assert tokens.input_ids.tolist() == [[1, 0, 0, 0]]
    assert tokens.attention_mask.tolist() == [[1, 0, 0, 0]]
