"""The model card: everything a person asks of a bundle, from its manifest alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra 'export')")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra 'export')")

from reference_bundles import Exported, ReferenceBundles  # noqa: E402

from octo_ros.engine.bundle import describe_file, read_bundle  # noqa: E402
from octo_ros.engine.manifest import Head, Language, Manifest  # noqa: E402
from octo_ros.export.data_sets import OCTO_PRETRAINING, data_sets, of_pretraining  # noqa: E402
from octo_ros.export.model_card import complete, model_card  # noqa: E402

NON_COMMERCIAL = "licensed for non-commercial use only"


@pytest.fixture
def manifest(tiny_export: Exported) -> Manifest:
    return read_bundle(tiny_export.bundle)


def with_checkpoint(manifest: Manifest, **entries: Any) -> Manifest:
    return dataclasses.replace(manifest, checkpoint={**manifest.checkpoint, **entries})


def test_the_card_is_listed_and_hashed_as_every_file(tiny_export: Exported, manifest: Manifest) -> None:
    assert manifest.files["README.md"] == describe_file(tiny_export.bundle / "README.md")


def test_the_card_follows_from_the_manifest(tiny_export: Exported, manifest: Manifest) -> None:
    files = {name: entry for name, entry in manifest.files.items() if name != "README.md"}
    text = (tiny_export.bundle / "README.md").read_text(encoding="utf-8")
    assert model_card(dataclasses.replace(manifest, files=files)) == text


def test_the_card_says_what_the_bundle_is(manifest: Manifest) -> None:
    text = model_card(manifest)
    for line in (
        "# tiny, step 7",
        "> **Random weights.**",
        "| source | a local folder |",
        "| transformer | 16 wide, 2 layers, 2 heads, MLP 24 |",
        "| precision | float32 |",
        "| window | 2 timesteps, the newest one included |",
        "| horizon | 3 actions of 7 values |",
        "| head | DiffusionActionHead, sampler ddpm in 4 steps, normalized actions within ±5 |",
        "| instruction | up to 6 tokens of t5-base; tokenizer not in the bundle |",
        "| proprioception | none |",
        "| graphs | language, task, history, step, policy |",
        "| primary | 32 x 32 | yes | centre, 0.9 of the area |",
        "| wrist | 16 x 16 | no | none |",
        "Licence of the weights: **not stated**.",
        "| first | 3 | not stated |",
    ):
        assert line in text.splitlines()
    assert "| parameters | " in text and " of the language encoder |" in text
    assert 'octo_ros.load_policy("path/of/this/folder")' in text
    assert NON_COMMERCIAL not in text


def test_the_card_has_every_measured_error(manifest: Manifest) -> None:
    text = model_card(manifest)
    count = 0
    for compared, errors in manifest.checks.items():
        for output, error in errors.items():
            assert f"| {compared} | {output} | {error:.1e} |" in text
            count += 1
    assert count >= 5
    assert "None were measured." in model_card(dataclasses.replace(manifest, checks={}))


def test_the_card_of_another_bundle_differs(manifest: Manifest) -> None:
    other = dataclasses.replace(
        manifest,
        precision="int8",
        notice="",
        default_dataset=None,
        language=Language(6, 40, "t5-base", "tokenizer.json"),
        head=Head("DiscreteActionHead", 0, None, "none", 256),
        proprio_size=8,
        vectors={"target": (5,)},
    )
    lines = model_card(other).splitlines()
    assert "| precision | int8 |" in lines
    assert "| head | DiscreteActionHead, 256 bins |" in lines
    assert "| instruction | up to 6 tokens of t5-base; tokenizer `tokenizer.json` |" in lines
    assert "| proprioception | 8 values |" in lines
    assert "| arrays of a task | target (5,) |" in lines
    assert not any(line.startswith("> ") for line in lines)
    assert any("options=octo_ros.ActOptions(dataset='first')" in line for line in lines)


def test_data_of_octos_pretraining_are_named_with_a_warning(manifest: Manifest) -> None:
    sets = {
        "bridge_dataset": {"trajectories": 60096, "transitions": 2135463},
        "my_robot": {"trajectories": None, "transitions": None},
        "kuka": {"trajectories": 209880, "transitions": 2455879},
    }
    text = model_card(with_checkpoint(manifest, datasets=sets, license="MIT"))
    assert "| bridge_dataset | 60,096 | 2,135,463 |" in text
    assert "Of these, bridge_dataset, kuka are data of Octo's pre-training" in text
    assert NON_COMMERCIAL in text and "Check the licence of each data set yourself" in text
    assert "Licence of the weights: **MIT**." in text
    assert "CC BY" not in text  # no licence of a data set is claimed


def test_a_reference_of_octos_data_carries_the_warning(
    shared: Path, reference_bundles: ReferenceBundles
) -> None:
    bundle = reference_bundles.shared(shared, "v15_language_goal").bundle
    text = (bundle / "README.md").read_text(encoding="utf-8")
    assert "| fractal20220817_data | 10 | 1,000 |" in text and NON_COMMERCIAL in text
    assert "tokenizer `tokenizer.json`" in text


def test_names_of_data_sets_are_known_exactly() -> None:
    assert len(OCTO_PRETRAINING) == 25
    assert of_pretraining(["bridge", "viola", "some_lab_converted_externally_to_rlds", "default"]) == [
        "some_lab_converted_externally_to_rlds",
        "viola",
    ]


def test_counts_that_are_no_counts_are_not_stated() -> None:
    statistics = {
        "good": {"num_trajectories": 3, "num_transitions": 0},
        "bad": {"num_trajectories": "3", "num_transitions": True},
        "worse": {"num_trajectories": -1, "num_transitions": 2.5},
    }
    none = {"trajectories": None, "transitions": None}
    assert data_sets(statistics) == {
        "good": {"trajectories": 3, "transitions": 0},
        "bad": none,
        "worse": none,
    }


def test_text_from_outside_does_not_break_the_tables(manifest: Manifest) -> None:
    hostile = with_checkpoint(
        manifest,
        name="a\n# title",
        license="MIT |\n\nand more",
        datasets={"x | y\nz": {"trajectories": 1, "transitions": 2}},
    )
    text = model_card(dataclasses.replace(hostile, notice="first\n\n# second"))
    assert "# a # title, step 7" in text
    assert "> **first # second**" in text
    assert "Licence of the weights: **MIT \\| and more**." in text
    assert "| x \\| y z | 1 | 2 |" in text


def test_a_manifest_of_another_writer_has_a_card_too(manifest: Manifest) -> None:
    text = model_card(dataclasses.replace(manifest, checkpoint={"name": "other"}))
    assert "# other, step not stated" in text
    assert "| first | 3 | not stated |" in text


def test_a_copied_card_is_replaced(tiny_export: Exported, manifest: Manifest, tmp_path: Path) -> None:
    for name in manifest.files:
        (tmp_path / name).write_bytes((tiny_export.bundle / name).read_bytes())
    written = complete(tmp_path, dataclasses.replace(manifest, precision="int8"))
    assert "| precision | int8 |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert read_bundle(tmp_path) == written
    assert list(written.files) == sorted(manifest.files)
