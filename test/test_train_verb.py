"""Options are refused by name; the verb trains on RLDS and says how to export."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from train_cell import AS_THEY_ARE, SIZE, make_episode, make_options, train_small  # noqa: E402

from octo_ros import cli  # noqa: E402
from octo_ros.errors import ParameterError  # noqa: E402
from octo_ros.train import rlds  # noqa: E402
from octo_ros.train.batches import SampleOptions  # noqa: E402
from octo_ros.train.options import TrainOptions  # noqa: E402
from octo_ros.train.train import Scratch  # noqa: E402
from octo_ros.train.words import FILE  # noqa: E402


@pytest.mark.parametrize(
    "changes",
    (
        {"steps": 0}, {"batch": 0}, {"ema": 1.0}, {"freeze": "all"}, {"schedule": "linear"}, {"peak": 0.0},
        {"clip": -1.0}, {"warmup": -1}, {"workers": -1}, {"seed": -1},
    ),
)  # fmt: skip
def test_options_are_refused_by_name(changes: dict) -> None:
    (name,) = changes
    with pytest.raises(ParameterError, match=f"{name}: expected"):
        TrainOptions(**changes)


@pytest.mark.parametrize("changes", ({"keep_image": 1.5}, {"past_goal": "stop"}))
def test_sample_options_are_refused_by_name(changes: dict) -> None:
    (name,) = changes
    with pytest.raises(ParameterError, match=f"{name}: expected"):
        SampleOptions(**changes)


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for device in ("cuda:99", "tpu", "meta"):
        with pytest.raises(ParameterError, match=f"device: expected cpu, .* got '{device}'"):
            train_small(tmp_path / "run", make_options(device=device))


def test_the_verb_trains_and_says_how_to_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = [make_episode(index, steps=3) for index in range(2)]
    monkeypatch.setattr(rlds, "read_split", lambda folder, split: episodes)
    out = tmp_path / "out"
    arguments = [
        "train",
        str(tmp_path / "blocks" / "1.0.0"),
        str(out),
        "--batch",
        "1",
        "--cameras",
        "primary",
    ]
    assert cli.main([*arguments, "--steps", "1", "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert f"octo_ros export {out} {out}_bundle --tokenizer {out}/t5_words/{FILE} --dataset blocks" in said
    assert (out / "1" / "default" / "checkpoint").is_file()
    assert cli.main([*arguments, "--steps", "1"]) == 1
    assert "--resume" in capsys.readouterr().err
    more = ["train", "data", str(tmp_path / "new"), "--freeze", "head"]
    assert cli.main(more) == 1 and "--freeze: is not for a model from scratch" in capsys.readouterr().err


def test_the_verb_reads_rlds(shared: Path, tmp_path: Path) -> None:
    episodes = rlds.read_split(shared / "bridge_debug" / "bridge_dataset" / "1.0.0", "train")
    assert len(episodes) == 25
    outcome = train_small(
        tmp_path / "run",
        make_options(steps=1, samples=AS_THEY_ARE),
        Scratch(SIZE, proprio=True),
        episodes=episodes,
    )
    assert outcome.held_out == 1
    example = (tmp_path / "run" / "example_batch.msgpack").stat().st_size
    assert example > 2 * 32 * 32 * 3
