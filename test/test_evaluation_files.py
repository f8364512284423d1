"""What an evaluation leaves: a table, a picture and a film."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib (the extra 'replay') is not installed")

from PIL import Image
from test_evaluation import EPISODES, pair

from octo_ros.errors import ParameterError
from octo_ros.evaluation.film import LAST_MS, PERIOD_MS, SIDES, Film
from octo_ros.evaluation.report import Report, Row
from octo_ros.evaluation.score import Evaluation
from octo_ros.evaluation.settings import AS_TRAINED, Setting

WRONG = Setting("wrong frame", must_fail=True)


def row(setting: Setting, successes: int, of: int = 20) -> Row:
    """A row with so many successes."""
    episodes = [replace(EPISODES[0], seed=seed, success=seed < successes) for seed in range(of)]
    return Row(setting, Evaluation(setting.name, tuple(episodes)))


@pytest.mark.parametrize(
    ("successes", "expected"), [(0, "fails visibly, as it must"), (17, "MUST FAIL, AND IS NOT SEEN TO")]
)
def test_a_row_that_must_fail_says_whether_it_does(successes, expected):
    report = Report({}, (row(AS_TRAINED, 18), row(WRONG, successes)), {})
    assert [report.verdict(one) for one in report.rows] == ["", expected]
    assert f"| wrong frame ({expected}) |" in report.markdown()


def test_the_table_has_a_row_a_setting_and_says_what_was_left_out():
    report = Report({"robot": "panda"}, (row(AS_TRAINED, 18),), {"no history": "it has none"})
    text = report.markdown()
    assert "robot panda. " in text
    assert "| as trained | 18/20 = 90% (70% to 97%) |" in text
    assert "| reach the red cube | 18/20 = 90% (70% to 97%) |" in text
    assert "- no history: it has none\n" in text
    assert "other words" not in text
    columns = {
        line.count("|") for line in text.splitlines() if line.startswith("| as") or "success |" in line
    }
    assert len({*columns} - {3}) == 1  # all lines of the first table alike


def test_a_swap_has_columns_of_its_own():
    swapped = Row(AS_TRAINED, Evaluation("as trained", tuple(pair(0, "red", "green"))))
    text = Report({}, (swapped,), {}).markdown()
    assert "| other words, other cube | both times the named cube |" in text
    assert "| 1/1 = 100% (21% to 100%) | 1/1 = 100% (21% to 100%) |" in text


def test_three_files_are_written_and_the_picture_has_a_bar_a_row(tmp_path):
    rows = (row(AS_TRAINED, 18), row(WRONG, 0), row(Setting("no episode"), 0, of=0))
    Report({"robot": "panda"}, rows, {}).write(tmp_path)
    body = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert [setting["setting"] for setting in body["settings"]] == ["as trained", "wrong frame", "no episode"]
    assert body["robot"] == "panda" and body["settings"][1]["verdict"]
    assert (tmp_path / "evaluation.md").read_text(encoding="utf-8").startswith("# Evaluation")
    pixels = np.asarray(Image.open(tmp_path / "evaluation.png").convert("RGB"))
    blue = (np.abs(pixels.astype(int) - [0x0B, 0x66, 0xA8]) < 8).all(axis=2)
    assert blue.any()


def shoot(film: Film, shots: int, ending: str = "success", size: int = 64) -> None:
    """An episode of so many pictures of noise, which no file makes small."""
    random = np.random.default_rng(0)
    film.begin("lift the red cube")
    for number in range(shots):
        film.decided("limited", ["tool speed"] * 20)
        for camera, side in (("primary", size), ("wrist", size // 2)):
            film.see(camera, number, random.integers(0, 256, (side, side, 3), dtype=np.uint8))
    film.end(ending)


def test_a_film_has_both_cameras_of_each_instant_and_the_first_episodes(tmp_path):
    film = Film(episodes=2)
    film.see("primary", 0, np.zeros((4, 4, 3), np.uint8))  # before any episode
    for _ in range(3):
        shoot(film, 4)
    assert len(film.shots) == 2 * (4 + 1)
    assert [shot.ending for shot in film.shots[3:5]] == ["", "success"]
    assert film.shots[0].note.startswith("limited: tool speed, tool speed")
    film.write(tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as image:
        assert image.size == (2 * SIDES[0], SIDES[0] + 2 * (SIDES[0] // 10))
        times = []
        for number in range(image.n_frames):
            image.seek(number)
            times.append(image.info["duration"])
    assert sum(times) == 2 * (4 * PERIOD_MS + LAST_MS)


def test_pictures_of_different_instants_make_no_shot():
    film = Film()
    film.begin("lift the red cube")
    film.see("primary", 1, np.zeros((4, 4, 3), np.uint8))
    film.see("wrist", 2, np.zeros((4, 4, 3), np.uint8))
    assert not film.shots
    film.see("primary", 2, np.zeros((4, 4, 3), np.uint8))
    assert len(film.shots) == 1


def test_a_film_that_would_be_too_large_is_smaller(tmp_path):
    film = Film()
    shoot(film, 6, size=256)
    film.write(tmp_path / "large.gif")
    size = (tmp_path / "large.gif").stat().st_size
    film.write(tmp_path / "small.gif", most_bytes=size // 3)
    assert (tmp_path / "small.gif").stat().st_size <= size // 3
    with Image.open(tmp_path / "small.gif") as image:
        assert image.width < 2 * SIDES[0]


def test_the_colours_of_small_things_are_kept(tmp_path):
    film = Film()
    film.begin("lift the red cube")
    picture = np.full((256, 256, 3), 250, np.uint8)
    picture[:, :128] = np.linspace(0, 255, 256)[:, None, None]  # greys, which would take all colours
    cubes = {"red": (220, 20, 20), "green": (20, 160, 40), "blue": (20, 50, 210)}
    for place, colour in enumerate(cubes.values()):
        picture[40 * place : 40 * place + 8, 200:208] = colour
    for camera in ("primary", "wrist"):
        film.see(camera, 0, picture)
    film.end("failure")
    film.write(tmp_path / "film.gif")
    pixels = np.asarray(Image.open(tmp_path / "film.gif").convert("RGB")).astype(int)
    for colour in cubes.values():
        assert np.abs(pixels - colour).max(axis=2).min() < 24


def test_a_film_of_nothing_is_an_error(tmp_path):
    with pytest.raises(ParameterError, match="expected pictures of primary and wrist"):
        Film().write(tmp_path / "film.gif")
    with pytest.raises(ParameterError, match="at least 1 episode"):
        Film(0)
