"""Which data a checkpoint was trained on, as far as its statistics tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NOT_STATED = "not stated"

OCTO_PRETRAINING = frozenset(
    (
        "austin_buds_dataset_converted_externally_to_rlds",
        "austin_sailor_dataset_converted_externally_to_rlds",
        "austin_sirius_dataset_converted_externally_to_rlds",
        "bc_z",
        "berkeley_autolab_ur5",
        "berkeley_cable_routing",
        "berkeley_fanuc_manipulation",
        "bridge_dataset",
        "cmu_stretch",
        "dlr_edan_shared_control_converted_externally_to_rlds",
        "fractal20220817_data",
        "furniture_bench_dataset_converted_externally_to_rlds",
        "iamlab_cmu_pickup_insert_converted_externally_to_rlds",
        "jaco_play",
        "kuka",
        "language_table",
        "nyu_door_opening_surprising_effectiveness",
        "nyu_franka_play_dataset_converted_externally_to_rlds",
        "roboturk",
        "stanford_hydra_dataset_converted_externally_to_rlds",
        "taco_play",
        "toto",
        "ucsd_kitchen_dataset_converted_externally_to_rlds",
        "utaustin_mutex",
        "viola",
    )
)
"""The 25 data sets of Open X-Embodiment that the released Octo was trained on, by the official names."""

_COUNTS = {"trajectories": "num_trajectories", "transitions": "num_transitions"}


def data_sets(statistics: Mapping[str, Any]) -> dict[str, dict[str, int | None]]:
    """Each data set of `dataset_statistics.json`, and how much of it: None where the file does not say."""
    return {
        name: {ours: _count(entry.get(official)) for ours, official in _COUNTS.items()}
        for name, entry in statistics.items()
    }


def of_pretraining(names: Iterable[str]) -> list[str]:
    """Those names that Octo's pre-training mix, or Open X-Embodiment's conversions, have."""
    return sorted(
        name for name in names if name in OCTO_PRETRAINING or name.endswith("_converted_externally_to_rlds")
    )


def weights_license(given: str | None, owner: str | None, name: str) -> str:
    """The licence of the weights: the one given, or Octo's own for its released checkpoints.

    Args:
        given: what the user says, if anything.
        owner: of the repository on the Hugging Face hub, or None for a local folder.
        name: of the repository.
    """
    if given is not None and given.strip():
        return given.strip()
    return "MIT" if owner == "rail-berkeley" and name.startswith("octo-") else NOT_STATED


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
