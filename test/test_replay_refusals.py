"""What a replay refuses to begin, and that it never leaves half of its output."""

from __future__ import annotations

import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from bag_maker import (
    episodes,
    write_bag,
)
from replay_cell import make_bundle, outputs

from octo_ros.bags.replay import replay
from octo_ros.errors import BagError, BundleError, ParameterError, RobotModelError, StatisticsError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bag") / "bag", episodes())


def test_wrong_arguments_are_named(tmp_path, bag, bundle):
    def refused(error, match, **change):
        given = {"bag": bag, "bundle": bundle, "robot": "fr3", "out": tmp_path / "out", **change}
        with pytest.raises(error, match=match):
            replay(given.pop("bag"), given.pop("bundle"), given.pop("robot"), given.pop("out"), **given)
        assert list(tmp_path.iterdir()) == kept

    (tmp_path / "bad.urdf").write_text("<robot name='none'/>")
    kept = list(tmp_path.iterdir())
    refused(BagError, "no such bag", bag=tmp_path / "absent")
    refused(BundleError, "not an octo_ros bundle", bundle=tmp_path)
    refused(ParameterError, "robot: expected one of fr3", robot="r2d2")
    refused(RobotModelError, "octo_safety", robot=tmp_path / "bad.urdf")
    refused(StatisticsError, "it has small", dataset="large")
    refused(ParameterError, "rate_hz: expected a rate", rate_hz=0.0)
    refused(ParameterError, "rate_hz: expected a rate", rate_hz=float("nan"))
    refused(ParameterError, "seed: expected at least 0", seed=-1)
    refused(ParameterError, "instruction: expected words", instruction=" ")
    refused(ParameterError, "joints: expected one of", joints="none")
    refused(ParameterError, "overhead: expected a camera", topics={"overhead": "/x"})
    refused(ParameterError, "out: expected the path", out="/")


def test_an_output_that_exists_is_replaced_only_if_it_is_a_replay(tmp_path, bag, bundle):
    out = tmp_path / "out"
    out.mkdir()
    replay(bag, bundle, "fr3", out)  # empty: written
    before = outputs(out)
    with pytest.raises(ParameterError, match="is not empty"):
        replay(bag, bundle, "fr3", out, seed=1)
    assert outputs(out) == before
    replay(bag, bundle, "fr3", out, seed=1, overwrite=True)
    assert outputs(out) != before
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "summary.json").write_text("[]")
    (foreign / "chapter.tex").write_text("ten years of work")
    with pytest.raises(ParameterError, match="is not an earlier replay"):
        replay(bag, bundle, "fr3", foreign, overwrite=True)
    assert (foreign / "chapter.tex").read_text() == "ten years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "thesis"]


def test_a_replay_that_fails_leaves_nothing_and_keeps_the_old(tmp_path, bag, bundle):
    out = tmp_path / "out"
    replay(bag, bundle, "fr3", out)
    before = outputs(out)

    def stop(done, total):
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(bag, bundle, "fr3", out, overwrite=True, seed=2, progress=stop)
    assert outputs(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
