"""A bundle that is damaged in any way is refused with one error that names where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bundle import write_bundle

from octo_ros.engine.bundle import MANIFEST, Manifest, read_bundle, read_manifest
from octo_ros.engine.graphs import check_graphs
from octo_ros.errors import BundleError

TOKENIZER = Path(__file__).parent / "data" / "tokenizer" / "tokenizer.json"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", tokenizer=TOKENIZER, proprio_size=3, default_dataset="small")
    return tmp_path / "bundle"


def body_of(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / MANIFEST).read_text())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "bundle", tokenizer=TOKENIZER, proprio_size=3, default_dataset="small")
    read = read_bundle(tmp_path / "bundle")
    assert read == written
    assert read.to_json() == (tmp_path / "bundle" / MANIFEST).read_text()
    check_graphs(read, "bundle")


def test_a_bundle_without_optional_parts_is_read(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "bundle", language=False, diffusion_steps=0)
    assert read_bundle(tmp_path / "bundle") == written
    check_graphs(written, "bundle")


def put(*keys: str, value: Any) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        for key in keys[:-1]:
            body = body[key]
        body[keys[-1]] = value

    return change


def drop(*keys: str) -> Callable[[dict], None]:
    def change(body: dict) -> None:
        for key in keys[:-1]:
            body = body[key]
        del body[keys[-1]]

    return change


DAMAGE = [
    (put("format", value="other"), "format: expected 'octo_ros bundle', got 'other'"),
    (put("format_version", value=1), "format_version: expected 2, the version"),
    (put("format_version", value=True), "format_version: expected a whole number"),
    (drop("horizon"), "horizon: missing"),
    (put("extra", value=1), "extra: unknown field"),
    (put("notice", value=None), "notice: expected a string, got None"),
    (put("checkpoint", value=[]), "checkpoint: expected an object"),
    (put("window", value="2"), "window: expected a whole number of at least 1, got '2'"),
    (put("window", value=0), "window: expected"),
    (put("horizon", value=4.0), "horizon: expected"),
    (put("action_dim", value=True), "action_dim: expected"),
    (put("proprio_size", value=-1), "proprio_size: expected"),
    (put("cameras", value=["primary"]), "cameras: expected an object"),
    (put("cameras", "primary", value=1), "cameras.primary: expected an object, got 1"),
    (drop("cameras", "wrist", "width"), "cameras.wrist.width: missing"),
    (put("cameras", "wrist", "height", value=None), "cameras.wrist.height: expected"),
    (put("cameras", "wrist", "takes_goal", value="yes"), "cameras.wrist.takes_goal: expected true or false"),
    (put("cameras", "wrist", "fps", value=5), "cameras.wrist.fps: unknown field"),
    (put("language", value="t5"), "language: expected an object"),
    (put("language", "vocab_size", value=None), "language.vocab_size: expected"),
    (put("language", "tokenizer_file", value=3), "language.tokenizer_file: expected a string"),
    (
        put("language", "tokenizer_file", value="other.json"),
        "language.tokenizer_file: 'other.json' is not listed",
    ),
    (put("head", "kind", value=None), "head.kind: expected a string"),
    (put("head", "max_action", value=float("nan")), "head.max_action: expected a finite number"),
    (put("head", "diffusion_steps", value=-1), "head.diffusion_steps: expected"),
    (put("head", "max_action", value="5"), "head.max_action: expected a finite number"),
    (put("head", "sampler", value="euler"), "head.sampler: expected one of ddpm, ddim, none, got 'euler'"),
    (put("head", "bins", value=-1), "head.bins: expected"),
    (put("precision", value="float16"), "precision: expected one of float32, int8, got 'float16'"),
    (put("checks", value={"a": 1}), "checks.a: expected an object, got 1"),
    (put("checks", value={"a": {"b": "c"}}), "checks.a.b: expected a finite number"),
    (put("vectors", value={"language_instruction": [0]}), "vectors.language_instruction: expected a list"),
    (put("statistics", value=[]), "statistics: expected an object"),
    (put("default_dataset", value=1), "default_dataset: expected a string"),
    (put("graphs", "policy", "file", value="other.onnx"), "graphs.policy.file: 'other.onnx' is not listed"),
    (
        put("graphs", "policy", "inputs", "proprio", "dtype", value="float16"),
        "graphs.policy.inputs.proprio.dtype:",
    ),
    (
        put("graphs", "policy", "inputs", "proprio", "shape", value=[1, "w"]),
        "inputs.proprio.shape: expected a list",
    ),
    (put("graphs", "policy", "outputs", value=None), "graphs.policy.outputs: expected an object"),
    (put("files", "policy.onnx", "sha256", value="abc"), "files.policy.onnx.sha256: expected 64 hexadecimal"),
    (put("files", "policy.onnx", "bytes", value="1"), "files.policy.onnx.bytes: expected"),
    (put("files", "../x", value={"sha256": "0" * 64, "bytes": 1}), "files: expected plain names"),
    (put("files", MANIFEST, value={"sha256": "0" * 64, "bytes": 1}), "files: expected plain names"),
    (put("versions", "onnx", value=1), "versions.onnx: expected a string"),
]


@pytest.mark.parametrize(("change", "message"), DAMAGE, ids=[message[:40] for _, message in DAMAGE])
def test_a_damaged_field_is_named(bundle: Path, change: Callable[[dict], None], message: str) -> None:
    body = body_of(bundle)
    change(body)
    (bundle / MANIFEST).write_text(json.dumps(body))
    with pytest.raises(BundleError) as raised:
        read_bundle(bundle)
    assert str(raised.value).startswith(f"{bundle / MANIFEST}: ")
    assert message in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_any_value_in_any_place_is_read_or_refused(whole: dict[str, Any], data: st.DataObject) -> None:
    body = json.loads(json.dumps(whole))
    place = body
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    try:
        manifest = read_manifest(body, "manifest.json")
    except BundleError as error:
        assert str(error).startswith("manifest.json: ")
    else:
        assert isinstance(manifest, Manifest)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole") / "bundle"
    write_bundle(folder, tokenizer=TOKENIZER, proprio_size=3)
    return body_of(folder)


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no manifest.json; write one with `octo_ros export`"):
        read_bundle(tmp_path)
    with pytest.raises(BundleError, match="nowhere"):
        read_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"", b"[" * 100_000])
def test_a_manifest_that_is_not_json(bundle: Path, text: bytes) -> None:
    (bundle / MANIFEST).write_bytes(text)
    with pytest.raises(BundleError, match="not JSON"):
        read_bundle(bundle)


def test_a_manifest_that_is_no_object(bundle: Path) -> None:
    (bundle / MANIFEST).write_text("[]")
    with pytest.raises(BundleError, match=r"the whole file: expected an object, got \[\]"):
        read_bundle(bundle)


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "language.onnx").unlink()
    with pytest.raises(BundleError, match=r"language.onnx: missing"):
        read_bundle(bundle)


def test_a_shortened_file_is_named(bundle: Path) -> None:
    path = bundle / "policy.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"policy.onnx: \d+ bytes; the manifest says \d+"):
        read_bundle(bundle)


def test_an_altered_file_is_named(bundle: Path) -> None:
    path = bundle / "tokenizer.json"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"tokenizer.json: SHA-256 differs"):
        read_bundle(bundle)


GRAPH_DAMAGE = [
    (drop("graphs", "language"), "graphs: expected ['language', 'policy'], got ['policy']"),
    (put("language", value=None), "graphs: expected ['policy']"),
    (put("window", value=3), "graphs.policy.inputs."),
    (put("cameras", "primary", "height", value=32), "graphs.policy.inputs.goal_image_primary"),
    (drop("cameras", "wrist"), "graphs.policy.inputs.image_wrist: expected nothing of that name"),
    (
        drop("graphs", "policy", "inputs", "noise_init"),
        "noise_init: expected float32 (1, 2, 28), got nothing",
    ),
    (put("proprio_size", value=None), "graphs.policy.inputs.pad_mask_proprio: expected nothing"),
    (put("horizon", value=5), "graphs.policy.inputs.noise_init"),
    (drop("graphs", "policy", "outputs", "actions"), "graphs.policy.outputs.actions"),
    (drop("graphs", "language", "outputs", "language_tokens"), "graphs.language.outputs.language_tokens"),
    (put("language", "max_tokens", value=9), "graphs.language.inputs.attention_mask"),
]


@pytest.mark.parametrize(("change", "message"), GRAPH_DAMAGE, ids=[message for _, message in GRAPH_DAMAGE])
def test_graphs_that_do_not_fit_the_other_fields(
    bundle: Path, change: Callable[[dict], None], message: str
) -> None:
    body = body_of(bundle)
    change(body)
    with pytest.raises(BundleError) as raised:
        check_graphs(read_manifest(body, "manifest.json"), "manifest.json")
    assert message in str(raised.value)
