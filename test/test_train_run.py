"""Runs of training: they learn, go on after a kill as if nothing had been, and keep what is frozen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from train_cell import AS_THEY_ARE, SIZE, make_episode, make_options, train_small, weights  # noqa: E402

from octo_ros.errors import CheckpointError, ParameterError  # noqa: E402
from octo_ros.train import run as run_module  # noqa: E402
from octo_ros.train.batches import SampleOptions  # noqa: E402
from octo_ros.train.episodes import TrainingDataError  # noqa: E402
from octo_ros.train.record import CURVES, read_record  # noqa: E402
from octo_ros.train.run import TRAINING  # noqa: E402
from octo_ros.train.sizes import DRAWS  # noqa: E402
from octo_ros.train.start import Wishes  # noqa: E402
from octo_ros.train.train import FineTune, Scratch  # noqa: E402
from octo_ros.train.words import FILE, FOLDER  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    """Models so small are slower with more, and much slower where other work has the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_record(folder / TRAINING) if "loss" in entry]


@pytest.mark.parametrize(("head", "steps", "share"), (("l1", 150, 0.35), ("diffusion", 120, 0.6)))
def test_a_small_model_learns_two_episodes(head: str, steps: int, share: float, tmp_path: Path) -> None:
    options = make_options(
        steps=steps, batch=8, peak=3e-3, warmup=10, log_every=10, samples=AS_THEY_ARE, validate_every=steps
    )
    outcome = train_small(tmp_path / "run", options, Scratch(SIZE, ("primary",), head=head))
    told = losses(tmp_path / "run")
    assert np.mean(told[-3:]) < share * told[0]
    if head == "l1":
        errors = outcome.trained.errors.first
        assert max(errors[axis] for axis in errors if axis != "gripper") < 0.01  # m, rad; drawn at 0.02
        assert errors["gripper"] < 0.15
    assert (tmp_path / "run" / TRAINING / CURVES).stat().st_size > 1000


@pytest.mark.parametrize("workers", (0, 2))
@pytest.mark.parametrize("ema", (0.0, 0.9))
def test_a_run_goes_on_bit_for_bit(
    workers: int, ema: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = make_options(steps=6, save_every=2, log_every=1, validate_every=3, ema=ema, workers=workers)
    train_small(tmp_path / "whole", options)
    step = run_module.Run._step

    def killed(self, number, batch):
        if number == 3:
            raise KeyboardInterrupt
        return step(self, number, batch)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.Run, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train_small(tmp_path / "killed", options)
    assert len(losses(tmp_path / "killed")) == 3
    train_small(tmp_path / "killed", options, resume=True)
    whole, killed_run = weights(tmp_path / "whole", 6), weights(tmp_path / "killed", 6)
    assert set(whole) == set(killed_run)
    for name, array in whole.items():
        assert array.tobytes() == killed_run[name].tobytes(), name
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        train_small(tmp_path / str(seed), make_options(seed=seed, log_every=1))
    assert losses(tmp_path / "0") != losses(tmp_path / "1")


def test_a_run_begun_otherwise_is_not_resumed(tmp_path: Path) -> None:
    train_small(tmp_path / "run", make_options())
    with pytest.raises(ParameterError, match="peak was 0.0003, is 0.001"):
        train_small(tmp_path / "run", make_options(peak=1e-3), resume=True)
    with pytest.raises(ParameterError, match=r"transitions was 12, is 6"):
        train_small(tmp_path / "run", make_options(), episodes=[make_episode(0)], resume=True)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    train_small(tmp_path / "run", make_options())
    (tmp_path / "run" / TRAINING / "state.pt").write_bytes(b"half a fi")
    with pytest.raises(CheckpointError, match=r"state\.pt: not the state of a run"):
        train_small(tmp_path / "run", make_options(), resume=True)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(ParameterError, match="expected a folder that does not exist yet or is empty"):
        train_small(tmp_path, make_options())


def test_a_folder_without_a_run_is_not_resumed(before: Path) -> None:
    (before.parent / "checkpoint").mkdir()
    (before.parent / "checkpoint" / "config.json").write_text("{}")
    with pytest.raises(ParameterError, match="holds no run to resume"):
        train_small(before.parent / "checkpoint", make_options(), resume=True)
    assert (before.parent / "checkpoint" / "config.json").read_text() == "{}"


def test_a_run_killed_before_its_first_save_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "run" / TRAINING).mkdir(parents=True)
    (tmp_path / "run" / TRAINING / "log.jsonl").write_text('{"step": 1, "loss": 9.0}\n{"step": 2, "lo')
    train_small(tmp_path / "run", make_options(log_every=1), resume=True)
    told = losses(tmp_path / "run")
    assert len(told) == 4 and 9.0 not in told


def test_a_refused_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError):
        train_small(tmp_path / "run", make_options(), Scratch(SIZE, ("left",)))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("before") / "run"
    train_small(folder, make_options(steps=2), Scratch(SIZE, ("primary",), head="mse"))
    return folder


FROZEN = {
    "none": ("octo_transformer/*nothing*",),
    "head": ("octo_transformer/",),
    "head_mlp": (
        "octo_transformer/",
        "heads_action/map_head/probe",
        "heads_action/map_head/MultiHeadDotProductAttention_0/",
    ),
}


@pytest.mark.parametrize("freeze", FROZEN)
def test_what_is_frozen_stays_and_all_else_moves(freeze: str, before: Path, tmp_path: Path) -> None:
    options = make_options(freeze=freeze, weight_decay=0.1, peak=1e-2)
    outcome = train_small(tmp_path / "run", options, FineTune(before))
    was, now = weights(before), weights(tmp_path / "run")
    assert set(was) == set(now) and not outcome.new and not outcome.left
    stayed = {name for name in was if was[name].tobytes() == now[name].tobytes()}
    frozen = {name for name in was if name.startswith(FROZEN[freeze])}
    unused = {name for name in stayed if "/shared/embedding" in name or "relative_attention_bias" in name}
    softmax_blind = {name for name in stayed if name.endswith("/key/bias")}
    blind = ("heads_action/map_head/probe", "map_head/MultiHeadDotProductAttention_0/query/bias")
    softmax_blind |= {name for name in stayed if name.endswith(blind)}  # of one token there is no choice
    assert frozen <= stayed
    assert stayed - frozen <= unused | softmax_blind
    assert outcome.trainable == sum(was[name].size for name in was if name not in frozen)


def test_frozen_keys_are_official_patterns(before: Path, tmp_path: Path) -> None:
    options = make_options(frozen_keys=("*hf_model*", "octo_transformer.obs_primary*"), peak=1e-2)
    train_small(tmp_path / "run", options, FineTune(before))
    was, now = weights(before), weights(tmp_path / "run")
    for name in was:
        if "hf_model" in name or name.startswith("octo_transformer/obs_primary"):
            assert was[name].tobytes() == now[name].tobytes(), name
    name = "octo_transformer/BlockTransformer_0/Transformer_0/encoder_norm/scale"
    assert was[name].tobytes() != now[name].tobytes()


def test_weights_that_fit_are_taken_and_the_others_are_told(before: Path, tmp_path: Path) -> None:
    wishes = Wishes(("primary", "wrist"), window=3, horizon=5, sizes={"wrist": (32, 32)})
    outcome = train_small(
        tmp_path / "run", make_options(steps=1, warmup=0, peak=1e-9), FineTune(before, wishes=wishes)
    )
    assert {name for name in outcome.new if "wrist" not in name} == {
        "heads_action/mean_proj/bias",
        "heads_action/mean_proj/kernel",
    }
    assert any("observation_tokenizers_wrist" in name for name in outcome.new) and not outcome.left
    was, now = weights(before), weights(tmp_path / "run")
    for name in set(was) - set(outcome.new):
        np.testing.assert_allclose(now[name], was[name], atol=1e-6, err_msg=name)
    own = [(folder / FOLDER / FILE).read_bytes() for folder in (before, tmp_path / "run")]
    assert own[0] == own[1]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["window_size"] == 3
    assert config["model"]["heads"]["action"]["kwargs"]["action_horizon"] == 5


def test_a_camera_left_out_leaves_its_weights(tmp_path: Path) -> None:
    train_small(tmp_path / "two", make_options(steps=1))
    model = FineTune(tmp_path / "two", wishes=Wishes(("primary",)))
    outcome = train_small(tmp_path / "one", make_options(steps=1), model)
    assert outcome.left and all("wrist" in name for name in outcome.left) and not outcome.new


def test_another_head_is_new_and_the_rest_is_kept(before: Path, tmp_path: Path) -> None:
    model = FineTune(before, wishes=Wishes(head="diffusion"))
    outcome = train_small(tmp_path / "run", make_options(freeze="head"), model)
    assert outcome.new and all(name.startswith("heads_action/") for name in outcome.new)
    assert all(name.startswith("heads_action/") for name in outcome.left)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["heads"]["action"]["kwargs"]["n_diffusion_samples"] == DRAWS


def test_a_checkpoint_that_reads_a_state_needs_one(tmp_path: Path) -> None:
    train_small(tmp_path / "with", make_options(steps=1), Scratch(SIZE, ("primary",), proprio=True))
    episodes = [make_episode(0, state=None)]
    with pytest.raises(ParameterError, match="reads proprioception, and the data has none"):
        train_small(tmp_path / "run", make_options(), FineTune(tmp_path / "with"), episodes=episodes)


def test_new_weights_are_not_frozen(before: Path, tmp_path: Path) -> None:
    wishes = Wishes(("primary", "wrist"), sizes={"wrist": (32, 32)})
    with pytest.raises(ParameterError, match="weights are new and would stay random, such as octo_trans"):
        train_small(tmp_path / "run", make_options(freeze="head"), FineTune(before, wishes=wishes))


def test_bfloat16_is_near_and_stays_finite(tmp_path: Path) -> None:
    episodes = [make_episode(0, instruction=""), make_episode(1)]
    for name, bfloat16 in (("float32", False), ("bfloat16", True)):
        options = make_options(bfloat16=bfloat16, log_every=1, peak=1e-5)
        train_small(tmp_path / name, options, episodes=episodes)
    whole, half = losses(tmp_path / "float32"), losses(tmp_path / "bfloat16")
    assert whole != half
    np.testing.assert_allclose(half, whole, rtol=0.02)


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_step(tmp_path: Path) -> None:
    options = make_options(steps=30, peak=1e30, warmup=0, log_every=1)
    with pytest.raises(TrainingDataError, match=r"step \d+: the loss is (nan|inf)"):
        train_small(tmp_path / "run", options)


def test_averaged_weights_are_saved(tmp_path: Path) -> None:
    common = {"steps": 3, "peak": 1e-2, "save_every": 1}
    train_small(tmp_path / "plain", make_options(**common))
    train_small(tmp_path / "slow", make_options(**common, ema=0.5))
    name = "octo_transformer/readout_action_pos_embedding"
    plain = [weights(tmp_path / "plain", step)[name] for step in (1, 2, 3)]
    slow = weights(tmp_path / "slow", 3)[name]
    moved = np.abs(plain[2] - plain[0]).max()
    assert 0 < np.abs(slow - plain[2]).max() < moved


def test_past_goal_hold_changes_the_samples(tmp_path: Path) -> None:
    for past in ("mask", "hold"):
        samples = SampleOptions(past_goal=past, augmentations={})
        train_small(tmp_path / past, make_options(samples=samples, log_every=1))
    assert losses(tmp_path / "mask") != losses(tmp_path / "hold")
