"""Success rates, their intervals, and the settings of an ablation."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_ros.errors import ParameterError
from octo_ros.evaluation.score import EpisodeScore, Evaluation, Share
from octo_ros.evaluation.settings import ABLATIONS, AS_TRAINED, changed
from octo_ros.nodes.policy_parameters import PARAMETERS as POLICY
from octo_ros.nodes.safety_parameters import PARAMETERS as SAFETY

EPISODES = (
    EpisodeScore("reach the red cube", 0, True, 40, 4, 4.0),
    EpisodeScore("lift the red cube", 1, False, 150, 30, 15.0),
    EpisodeScore("reach the red cube", 2, True, 10, 0, 1.0),
)


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


def test_an_evaluation_counts_by_instruction_and_by_action():
    evaluation = Evaluation("as trained", EPISODES)
    assert (evaluation.success.hits, evaluation.success.trials) == (2, 3)
    assert evaluation.by_instruction() == {
        "reach the red cube": Share(2, 2),
        "lift the red cube": Share(0, 1),
    }
    assert evaluation.limited == Share(34, 200)
    assert "2/3 = 67%" in str(evaluation) and "17.0% of 200 actions" in str(evaluation)


def test_an_evaluation_without_an_episode_can_be_written():
    body = json.loads(json.dumps(Evaluation("none", ()).as_json()))
    assert body["success"] == {"hits": 0, "trials": 0, "share": None, "interval_95": [0.0, 1.0]}
    assert "nan%" not in json.dumps(body)


def test_settings_change_only_parameters_that_the_nodes_have():
    names = {"policy": {parameter.name for parameter in POLICY}, "safety": {p.name for p in SAFETY}}
    assert ABLATIONS[0] == AS_TRAINED and not AS_TRAINED.policy and not AS_TRAINED.safety
    for setting in ABLATIONS:
        assert set(setting.policy) <= names["policy"] and set(setting.safety) <= names["safety"]


def test_a_change_is_of_one_node_and_leaves_the_setting_alone():
    setting = changed(AS_TRAINED, ["policy.execution=receding", "safety.max_tool_speed=0.1"])
    assert (setting.policy, setting.safety) == ({"execution": "receding"}, {"max_tool_speed": "0.1"})
    assert setting.name == "as trained, policy.execution=receding, safety.max_tool_speed=0.1"
    assert changed(setting, []) == setting
    assert not AS_TRAINED.policy


@pytest.mark.parametrize("change", ["execution=receding", "arm.speed=1", "policy.execution", "policy.=1", ""])
def test_a_change_that_is_not_one_is_an_error(change):
    with pytest.raises(ParameterError, match="policy.PARAMETER=VALUE"):
        changed(AS_TRAINED, [change])
