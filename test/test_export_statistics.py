"""dataset_statistics.json: the forms it has, and what cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from official_checkpoint import tiny_statistics

from octo_ros.errors import CheckpointError
from octo_ros.export.statistics import read_statistics


def test_every_data_set_is_kept_as_it_came() -> None:
    assert read_statistics(tiny_statistics(), "statistics") == tiny_statistics()


def test_a_fine_tuned_checkpoint_names_no_data_set() -> None:
    single = tiny_statistics()["first"]
    assert read_statistics(single, "statistics") == {"default": single}


def test_a_missing_mask_scales_every_axis_as_the_official_code_does() -> None:
    body = tiny_statistics()
    del body["first"]["action"]["mask"]
    read = read_statistics(body, "statistics")
    assert read["first"]["action"]["mask"] == [True] * 7
    assert read["second"]["action"]["mask"] == [True] * 6 + [False]


@pytest.mark.parametrize(
    "still", [{"min": 0.25, "max": 0.25}, {"mask": False}], ids=["no movement", "not scaled"]
)
def test_a_deviation_of_zero_is_taken_where_it_does_no_harm(still: dict[str, Any]) -> None:
    body = tiny_statistics()
    action = body["first"]["action"]
    action["std"][2] = 0.0
    for key, value in still.items():
        action[key][2] = value
    assert read_statistics(body, "statistics")["first"]["action"]["std"][2] == 0.0


def entry(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda body: body["second"]["action"].update({key: value})


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "empty": (lambda body: body.clear(), "no data set"),
    "a data set that is a number": (lambda body: body.update(second=3), "second"),
    "no action": (lambda body: body["second"].pop("action"), "action"),
    "no mean": (lambda body: body["second"]["action"].pop("mean"), "mean"),
    "no std": (lambda body: body["second"]["action"].pop("std"), "std"),
    "six means": (entry("mean", [0.0] * 6), "mean"),
    "eight deviations": (entry("std", [1.0] * 8), "std"),
    "short mask": (entry("mask", [True] * 6), "mask"),
    "mask of numbers": (entry("mask", [1] * 7), "mask"),
    "mean a number": (entry("mean", 0.0), "mean"),
    "mean of words": (entry("mean", ["0"] * 7), "mean"),
    "NaN": (entry("mean", [float("nan")] * 7), "mean"),
    "infinite": (entry("std", [float("inf")] * 7), "std"),
    "negative deviation": (entry("std", [-1.0] * 7), "std"),
    "deviation of zero where the data moved": (entry("std", [0.0] * 7), "std"),
    "minimum above maximum": (entry("min", [9.0] * 7), "min"),
    "one bound": (entry("p01", [0.0]), "p01"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    edit, said = REFUSED[name]
    body = tiny_statistics()
    edit(body)
    with pytest.raises(CheckpointError) as caught:
        read_statistics(body, "here/dataset_statistics.json")
    assert "here/dataset_statistics.json" in str(caught.value)
    assert said in str(caught.value)


def test_the_error_names_the_axis() -> None:
    body = tiny_statistics()
    body["first"]["action"]["std"] = (np.arange(7) * 0.1).tolist()
    with pytest.raises(CheckpointError, match="first: action: std: .* dx"):
        read_statistics(body, "statistics")
