"""Engines on disk: what is written is read, and what may not run here is refused with what to do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.frames import CameraFrames
from octo_ros.errors import BundleError
from octo_ros.gpu.cache import (
    ENGINE,
    GRAPHS,
    PLANS,
    PRECISIONS,
    Engine,
    EngineKey,
    build_command,
    bundle_digest,
    cache_root,
    check_engine,
    engine_folder,
    find_engine,
    graphs_digest,
    read_engine,
    timing_cache,
    write_engine,
)

KEY = EngineKey(PLANS, "10.3.0", "Orin", "8.7", "fp16", "orin", "b" * 64, "c" * 64, {"optimization_level": 3})
BUNDLE = Path("bundles/small")

FOREIGN = {
    "bundle": "d" * 64,
    "precision": "int8",
    "runtime": GRAPHS,
    "gpu": "NVIDIA RTX A2000",
    "compute_capability": "8.6",
    "version": "10.13.3.9",
}
"""By field, a value that an engine must not be run with."""


def write(folder: Path, key: EngineKey = KEY) -> Engine:
    folder.mkdir(parents=True)
    (folder / "step.plan").write_bytes(b"plan of " + key.precision.encode())
    engine = Engine(
        key, {"step": "step.plan"}, {}, {"translation_p99_m": 2e-4}, {"step": {"HALF": 7}}, "a bag",
        {"tensorrt": key.version}, "2026-11-27T00:00:00+00:00",
    )  # fmt: skip
    write_engine(folder, engine)
    return engine


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = write(tmp_path / "engine")
    read = read_engine(tmp_path / "engine")
    assert dataclasses.replace(read, sizes={}) == written
    assert read.sizes["step.plan"]["bytes"] == len(b"plan of fp16")


def with_frames(folder: Path) -> Path:
    """An engine that prepares frames of the camera "primary"."""
    engine = write(folder)
    (folder / "prepare_primary.plan").write_bytes(b"plan of frames")
    frames = {"primary": CameraFrames(480, 640, True)}
    files = {**engine.files, "prepare_primary": "prepare_primary.plan"}
    write_engine(folder, dataclasses.replace(engine, files=files, frames=frames))
    return folder


def test_the_record_tells_of_which_size_frames_are(tmp_path: Path) -> None:
    engine = read_engine(with_frames(tmp_path / "e"))
    assert engine.frames == {"primary": CameraFrames(480, 640, True)}
    assert json.loads((tmp_path / "e" / ENGINE).read_text())["frames"] == {
        "primary": {"height": 480, "width": 640, "center_crop": True}
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body.pop("frames"), "frames: missing"),
        (lambda body: body["frames"]["primary"].pop("width"), "frames.primary.width: missing"),
        (lambda body: body["frames"]["primary"].update(height=1), "frames.primary.height: expected .* got 1"),
        (lambda body: body["frames"]["primary"].update(depth=3), "frames.primary.depth: unknown field"),
        (lambda body: body["frames"].update(wrist=body["frames"]["primary"]), "files.prepare_wrist: missing"),
    ],
)
def test_a_damaged_record_of_frames_names_the_field(change, said: str, tmp_path: Path) -> None:
    description = with_frames(tmp_path / "e") / ENGINE
    body = json.loads(description.read_text())
    change(body)
    description.write_text(json.dumps(body))
    with pytest.raises(BundleError, match=said):
        read_engine(tmp_path / "e")


@pytest.mark.parametrize("damage", ["altered", "missing", "format", "unknown", "no json"])
def test_a_damaged_engine_names_the_file(damage: str, tmp_path: Path) -> None:
    write(tmp_path / "e")
    plan, description = tmp_path / "e" / "step.plan", tmp_path / "e" / ENGINE
    body = json.loads(description.read_text())
    if damage == "altered":
        plan.write_bytes(b"plan of fp61")
    elif damage == "missing":
        plan.unlink()
    elif damage == "no json":
        description.write_text("{")
    else:
        body["format_version" if damage == "format" else "owner"] = 9
        description.write_text(json.dumps(body))
    named = plan if damage in ("altered", "missing") else description
    with pytest.raises(BundleError, match=str(named)):
        read_engine(tmp_path / "e")


def test_a_file_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "e")
    body = json.loads((tmp_path / "e" / ENGINE).read_text())
    body["files"]["step"] = "../other.plan"
    (tmp_path / "e" / ENGINE).write_text(json.dumps(body))
    with pytest.raises(BundleError, match="other.plan"):
        read_engine(tmp_path / "e")


@pytest.mark.parametrize("field", FOREIGN)
def test_a_foreign_engine_says_what_differs_and_how_to_build_it(field: str, tmp_path: Path) -> None:
    engine = write(tmp_path / "e", dataclasses.replace(KEY, **{field: FOREIGN[field]}))
    with pytest.raises(BundleError) as raised:
        find_engine(KEY, BUNDLE, tmp_path / "e")
    message = str(raised.value)
    shown = 16 if field == "bundle" else None
    for value in (getattr(engine.key, field), getattr(KEY, field)):
        assert value[:shown] in message
    assert f"octo_ros build {BUNDLE} --precision fp16" in message


def test_the_command_that_builds_a_foreign_engine_again_keeps_its_frames(tmp_path: Path) -> None:
    folder, here = with_frames(tmp_path / "e"), dataclasses.replace(KEY, version="11.0")
    with pytest.raises(BundleError, match=r"octo_ros build .* --precision fp16 --frames primary=640x480$"):
        find_engine(here, BUNDLE, folder)


@pytest.mark.parametrize("field", ["graphs", "flags", "target"])
def test_what_only_a_rebuild_can_change_does_not_refuse(field: str, tmp_path: Path) -> None:
    other = {"optimization_level": 5} if field == "flags" else "other"
    engine = write(tmp_path / "e", dataclasses.replace(KEY, **{field: other}))
    check_engine(tmp_path / "e", engine, KEY, BUNDLE)


def test_graphs_run_on_any_gpu(tmp_path: Path) -> None:
    key = dataclasses.replace(KEY, runtime=GRAPHS, version="", gpu="any", compute_capability="any")
    engine = write(tmp_path / "e", key)
    check_engine(tmp_path / "e", engine, key, BUNDLE)


def test_the_cache_gives_this_gpus_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTO_ROS_ENGINES", str(tmp_path))
    for key in (KEY, dataclasses.replace(KEY, precision="int8"), dataclasses.replace(KEY, version="11.0")):
        write(engine_folder(tmp_path, key), key)
    folder, engine = find_engine(KEY, BUNDLE)
    assert engine.key == KEY and folder.parent == tmp_path


def test_the_cache_says_what_else_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTO_ROS_ENGINES", str(tmp_path))
    other = engine_folder(tmp_path, dataclasses.replace(KEY, gpu="NVIDIA H100", compute_capability="9.0"))
    write(other)
    with pytest.raises(BundleError, match=f"on Orin with TensorRT 10.3.0.*{other.name}.*Build it"):
        find_engine(KEY, BUNDLE)


def test_the_place_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("OCTO_ROS_ENGINES", "")
    assert cache_root() == tmp_path / "octo_ros" / "engines"
    monkeypatch.setenv("OCTO_ROS_ENGINES", "/engines")
    assert cache_root() == Path("/engines")


def test_commands() -> None:
    assert build_command(BUNDLE, KEY) == "octo_ros build bundles/small --precision fp16"
    int8 = dataclasses.replace(KEY, precision="int8", runtime=GRAPHS)
    assert build_command(BUNDLE, int8).endswith("--calibrate BAG_OR_RLDS --graphs-only FOLDER")


def test_a_bundles_digest_is_of_graphs_and_weights_alone(bundle: Path, tmp_path: Path) -> None:
    manifest = read_bundle(bundle)
    other = {"sha256": "0" * 64, "bytes": 1}
    card = dataclasses.replace(manifest, files={**manifest.files, "README.md": other})
    assert bundle_digest(card) == bundle_digest(manifest)
    graph = next(iter(manifest.graphs.values())).file
    altered = dataclasses.replace(manifest, files={**manifest.files, graph: other})
    assert bundle_digest(altered) != bundle_digest(manifest)


def test_the_digest_of_graphs_sees_every_byte(tmp_path: Path) -> None:
    for name in ("step.onnx", "weights.bin", "notes.txt"):
        (tmp_path / name).write_bytes(b"1")
    first = graphs_digest(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"2")
    assert graphs_digest(tmp_path) == first
    (tmp_path / "weights.bin").write_bytes(b"2")
    assert graphs_digest(tmp_path) != first


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(gpu=TEXT, version=TEXT, precision=st.sampled_from(PRECISIONS))
def test_folders_are_plain_names_below_the_root(gpu: str, version: str, precision: str) -> None:
    key = dataclasses.replace(KEY, gpu=gpu, version=version, precision=precision)
    for path in (engine_folder(Path("/r"), key), timing_cache(Path("/r"), key)):
        assert path.parent == Path("/r")
        assert all(letter.isascii() and (letter.isalnum() or letter in "._") for letter in path.name)


def test_the_precisions_are_those_of_the_graphs() -> None:
    precision = pytest.importorskip("octo_ros.gpu.precision")
    assert precision.PRECISIONS == PRECISIONS
