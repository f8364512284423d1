"""Success rates, their intervals, which cube was approached, and the settings of an ablation."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_ros.engine.bundle import read_bundle
from octo_ros.errors import ParameterError
from octo_ros.evaluation.plan import Planned, planned
from octo_ros.evaluation.score import EpisodeScore, Evaluation
from octo_ros.evaluation.settings import (
    ABLATIONS,
    AS_TRAINED,
    MAX_FRAME_AGE_S,
    changed,
    chosen,
    late_pictures,
)
from octo_ros.evaluation.share import Share
from octo_ros.evaluation.tally import Tally
from octo_ros.nodes.policy_parameters import PARAMETERS as POLICY
from octo_ros.nodes.safety_parameters import PARAMETERS as SAFETY
from octo_ros.resources import share_path
from octo_ros.sim.tasks import COLORS, CellTask

MS = 1_000_000
EPISODES = (
    EpisodeScore("reach the red cube", 0, True, "red", 40, 4, False, 4.0, 0.08),
    EpisodeScore("lift the red cube", 1, False, "none", 150, 30, True, 15.0, 0.1),
    EpisodeScore("reach the red cube", 2, True, "blue", 10, 0, False, 1.0, None),
)


def pair(seed: int, first: str, second: str) -> list[EpisodeScore]:
    """A scene in which red, then green was asked for, and what was approached."""
    return [
        replace(EPISODES[0], seed=seed, instruction=f"reach the {asked} cube", approached=approached)
        for asked, approached in (("red", first), ("green", second))
    ]


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 20, 0.0, 0.1611), (5, 10, 0.2366, 0.7634), (81, 100, 0.7222, 0.8749), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_is_wilsons(hits, trials, low, high):
    assert Share(hits, trials).interval == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 1000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_an_interval_holds_the_share_and_mirrors_that_of_the_failures(counts):
    hits, trials = counts
    low, high = Share(hits, trials).interval
    assert 0.0 <= low <= hits / trials + 1e-12
    assert hits / trials - 1e-12 <= high <= 1.0
    assert Share(trials - hits, trials).interval == pytest.approx((1.0 - high, 1.0 - low))


def test_an_evaluation_counts_by_instruction_by_cube_and_by_action():
    evaluation = Evaluation("as trained", EPISODES, real_s=10.0, simulated_s=20.0)
    assert evaluation.success == Share(2, 3)
    assert evaluation.by_instruction() == {
        "reach the red cube": Share(2, 2),
        "lift the red cube": Share(0, 1),
    }
    assert evaluation.as_named == Share(1, 3)
    assert (evaluation.limited, evaluation.stopped) == (Share(34, 200), Share(1, 3))
    assert evaluation.seconds == pytest.approx(2.5)  # of those that succeeded
    assert evaluation.age_s == pytest.approx(0.09)
    assert evaluation.real_time_factor == 2.0
    assert "2/3 = 67%" in str(evaluation) and "17.0% of 200 actions" in str(evaluation)
    assert "other words" not in str(evaluation)


def test_words_change_the_cube_where_two_are_approached_and_are_followed_where_each_is_the_named():
    scenes = [("red", "green"), ("green", "blue"), ("red", "red"), ("red", "none"), ("green", "red")]
    episodes = [episode for seed, colors in enumerate(scenes) for episode in pair(seed, *colors)]
    alone = replace(EPISODES[0], seed=99)
    evaluation = Evaluation("as trained", (*episodes, alone))
    assert evaluation.changed == Share(3, 5)
    assert evaluation.followed == Share(1, 5)
    assert evaluation.as_named.trials == 11


def test_an_evaluation_without_an_episode_can_be_written():
    body = json.loads(json.dumps(Evaluation("none", ()).as_json(), allow_nan=False))
    assert body["success"] == {"hits": 0, "trials": 0, "share": None, "interval_95": [0.0, 1.0]}
    assert body["mean_seconds_to_success"] is body["real_time_factor"] is None
    assert str(Evaluation("none", ())) == "none: -"


def test_a_plan_goes_through_the_tasks_in_turn_by_the_seed():
    assert planned("lift", 4, 2) == (
        Planned(4, CellTask("lift", "green")),
        Planned(5, CellTask("lift", "blue")),
    )
    assert len({one.task for one in planned("all", 100_000, 6)}) == 6


def test_a_swap_asks_for_another_cube_in_the_same_scene_and_every_pair_comes():
    plan = planned("all", 7, 6, swap=True)
    pairs = list(zip(plan[::2], plan[1::2], strict=True))
    assert [first.seed for first, _ in pairs] == [second.seed for _, second in pairs] == list(range(7, 13))
    assert all(first.task.verb == second.task.verb for first, second in pairs)
    colors = {frozenset((first.task.color, second.task.color)) for first, second in pairs}
    assert colors == {frozenset(set(COLORS) - {color}) for color in COLORS}
    only = planned("reach the blue cube", 0, 1, swap=True)
    assert [one.task.color for one in only] == ["blue", "red"]


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"seed": -1}, {"task": "juggle"}])
def test_a_plan_that_cannot_be_is_an_error(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        planned(**{"task": "all", "seed": 0, "episodes": 1, **wrong})


def test_an_action_is_limited_once_whatever_the_filter_tells_of_it():
    tally = Tally()
    for number, decisions in enumerate(
        [["ok"], ["limited", "limited"], ["ok", "limited", "limited"], ["invalid"], ["ok"]]
    ):
        tally.action(100 * MS * number)
        for status in decisions:
            tally.decision(status, 100 * MS * number + 80 * MS)
    assert (tally.actions, tally.limited, tally.stopped) == (5, 3, False)
    assert tally.ages_s == pytest.approx([0.08] * 5)


def test_actions_that_meet_a_stopped_filter_do_not_count():
    tally = Tally()
    tally.action(0)
    tally.decision("estop", 1)  # before the reset
    tally.decision("limited", 1)  # of a tick whose action was not heard
    assert (tally.actions, tally.limited, tally.stopped) == (0, 0, False)
    tally.action(100 * MS)
    tally.decision("ok", 150 * MS)
    tally.decision("stopped", 400 * MS)
    tally.action(200 * MS)
    tally.decision("stopped", 450 * MS)
    assert (tally.actions, tally.limited, tally.stopped) == (1, 0, True)


def test_settings_change_only_parameters_that_the_nodes_have():
    pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
    from octo_ros.nodes.sim_parameters import PARAMETERS as CELL

    tables = {"policy": POLICY, "safety": SAFETY, "cell": CELL}
    assert ABLATIONS[0] == AS_TRAINED and not (AS_TRAINED.policy or AS_TRAINED.safety or AS_TRAINED.cell)
    for setting in ABLATIONS:
        for node, table in tables.items():
            assert set(getattr(setting, node)) <= {parameter.name for parameter in table}
    defaults = {parameter.name: parameter.default for parameter in POLICY}
    assert defaults["max_frame_age_s"] == MAX_FRAME_AGE_S


def test_late_pictures_are_called_stale_by_neither_node():
    late = late_pictures(0.3)
    assert late.cell == {"image_delay_s": 0.3}
    assert late.policy["max_frame_age_s"] == late.safety["max_action_age_s"] == 0.5


def test_settings_that_say_nothing_of_a_bundle_are_left_out_with_the_reason():
    manifest = replace(read_bundle(share_path("demo/bundle")), default_dataset="sim", window=1)
    kept, left_out = chosen(ABLATIONS, manifest)
    (history,) = (setting for setting in ABLATIONS if setting.least_window > 1)
    assert left_out == {history.name: "the bundle sees 1 frame at a time: it has no history"}
    assert [setting.name for setting in kept] == [s.name for s in ABLATIONS if s is not history]
    kept, left_out = chosen(ABLATIONS, replace(manifest, default_dataset="bridge_dataset", horizon=1))
    assert len(left_out) == 3
    assert "bridge_dataset is what the bundle scales by" in left_out.values()
    assert chosen(ABLATIONS, replace(manifest, window=2)) == (list(ABLATIONS), {})


def test_a_change_is_of_one_node_and_leaves_the_setting_alone():
    changes = ["policy.execution=receding", "safety.max_tool_speed=0.1", "cell.image_delay_s=0.2"]
    setting = changed(AS_TRAINED, changes)
    assert (setting.policy, setting.safety) == ({"execution": "receding"}, {"max_tool_speed": "0.1"})
    assert setting.cell == {"image_delay_s": "0.2"}
    assert setting.name == f"as trained, {', '.join(changes)}"
    assert changed(setting, []) == setting
    assert not AS_TRAINED.policy


@pytest.mark.parametrize("change", ["execution=receding", "arm.speed=1", "policy.execution", "policy.=1", ""])
def test_a_change_that_is_not_one_is_an_error(change):
    with pytest.raises(ParameterError, match=r"policy\.PARAMETER=VALUE"):
        changed(AS_TRAINED, [change])
