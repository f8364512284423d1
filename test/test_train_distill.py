"""A head of one pass learns what a diffusion head samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")

from train_cell import AS_THEY_ARE, SIZE, make_episode, make_options, train_small  # noqa: E402

from octo_ros.errors import ParameterError  # noqa: E402
from octo_ros.export.checkpoint import read_checkpoint  # noqa: E402
from octo_ros.train.batches import ATTENTION_MASK, INPUT_IDS  # noqa: E402
from octo_ros.train.distill import Teacher  # noqa: E402
from octo_ros.train.record import read_record  # noqa: E402
from octo_ros.train.run import TRAINING  # noqa: E402
from octo_ros.train.start import Wishes, from_checkpoint  # noqa: E402
from octo_ros.train.train import FineTune, Scratch  # noqa: E402


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train_small(folder, make_options(steps=2), Scratch(SIZE, ("primary",)))
    return folder


def test_a_lesson_is_the_teachers_sample_for_the_newest_step(teacher: Path) -> None:
    checkpoint = read_checkpoint(teacher)
    pupil = from_checkpoint(checkpoint, Wishes(head="l1"), None, None, 0)
    cpu = torch.device("cpu")
    rng = np.random.default_rng(1)
    inputs = {
        "image_primary": torch.randint(0, 256, (2, 2, 32, 32, 3), dtype=torch.uint8),
        "pad_mask_image_primary": torch.ones(2, 2, dtype=torch.bool),
        "goal_image_primary": torch.zeros(2, 32, 32, 3, dtype=torch.uint8),
        "timestep_pad_mask": torch.ones(2, 2, dtype=torch.bool),
        "pad_mask_language_instruction": torch.ones(2, dtype=torch.bool),
        INPUT_IDS: torch.ones(2, SIZE.length, dtype=torch.int64),
        ATTENTION_MASK: torch.ones(2, SIZE.length, dtype=torch.int64),
    }
    actions = torch.randn(2, 2, 4, 7)
    taught, counted = Teacher(checkpoint, pupil, cpu).lesson(inputs, actions, rng)
    assert torch.equal(taught[:, 0], actions[:, 0]) and not torch.equal(taught[:, 1], actions[:, 1])
    assert counted[:, 1].all() and not counted[:, 0].any() and not taught.requires_grad
    again, _ = Teacher(checkpoint, pupil, cpu).lesson(inputs, actions, np.random.default_rng(1))
    assert torch.equal(again, taught)


def test_a_pupil_nears_its_teacher_and_keeps_its_scale(teacher: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    options = make_options(
        steps=60, batch=6, peak=1e-2, warmup=3, freeze="head", samples=AS_THEY_ARE, log_every=5,
        validate_every=60,
    )  # fmt: skip
    model = FineTune(teacher, wishes=Wishes(head="l1"), distill=True)
    episodes = [make_episode(5), make_episode(6)]
    train_small(tmp_path / "run", options, model, episodes=episodes)
    torch.set_num_threads(threads)
    losses = [entry["loss"] for entry in read_record(tmp_path / "run" / TRAINING) if "loss" in entry]
    assert np.mean(losses[-3:]) < 0.85 * losses[0]  # an untrained teacher samples noise for the most part
    assert read_checkpoint(tmp_path / "run").statistics == read_checkpoint(teacher).statistics


@pytest.mark.parametrize(
    ("wishes", "said"),
    (
        (Wishes(), "got DiffusionActionHead and DiffusionActionHead: give --head l1"),
        (Wishes(head="l1", horizon=2), "expected the checkpoint's own cameras, window and horizon"),
        (Wishes(head="l1", window=1), "expected the checkpoint's own cameras, window and horizon"),
    ),
)
def test_a_pupil_that_does_not_fit_is_refused(
    wishes: Wishes, said: str, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=said):
        train_small(tmp_path / "run", make_options(), FineTune(teacher, wishes=wishes, distill=True))
