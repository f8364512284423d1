"""From an official `config.json` to the dataclasses of `config.py`.

`OFFICIAL` is the one table from official module names to ours. A module that is not in it, and a
keyword that its dataclass lacks, are errors that name it, before any work starts.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from octo_ros.errors import CheckpointError
from octo_ros.model.config import (
    ClipText,
    ContinuousHead,
    DiffusionHead,
    DiscreteHead,
    Head,
    ImageTokenizer,
    LanguageTokenizer,
    LowdimTokenizer,
    OctoConfig,
    PatchEncoder,
    Resnet,
    SentenceEmbedding,
    SmallStem,
    TextProcessor,
    Transformer,
    UNetHead,
)
from octo_ros.model.support import check_support

_TOKENIZERS = "octo.model.components.tokenizers"
_ENCODERS = "octo.model.components.vit_encoders"
_HEADS = "octo.model.components.action_heads"
_TEXT = "octo.data.utils.text_processing"

OFFICIAL: Mapping[str, tuple[type, Mapping[str, Any]]] = {
    f"{_TOKENIZERS}:ImageTokenizer": (ImageTokenizer, {}),
    f"{_TOKENIZERS}:LowdimObsTokenizer": (LowdimTokenizer, {}),
    f"{_TOKENIZERS}:LanguageTokenizer": (LanguageTokenizer, {}),
    f"{_ENCODERS}:SmallStem": (SmallStem, {}),
    f"{_ENCODERS}:SmallStem16": (SmallStem, {"patch_size": 16}),
    f"{_ENCODERS}:SmallStem32": (SmallStem, {"patch_size": 32}),
    f"{_ENCODERS}:PatchEncoder": (PatchEncoder, {}),
    f"{_ENCODERS}:ViTResnet": (Resnet, {}),
    f"{_ENCODERS}:ResNet26FILM": (Resnet, {"use_film": True, "num_layers": (2, 2, 2, 2)}),
    f"{_HEADS}:ContinuousActionHead": (ContinuousHead, {}),
    f"{_HEADS}:MSEActionHead": (ContinuousHead, {"use_map": True}),
    f"{_HEADS}:L1ActionHead": (ContinuousHead, {"use_map": True, "loss_type": "l1"}),
    f"{_HEADS}:DiscreteActionHead": (DiscreteHead, {}),
    f"{_HEADS}:TokenPerDimActionHead": (DiscreteHead, {}),
    f"{_HEADS}:DiffusionActionHead": (DiffusionHead, {}),
    f"{_HEADS}:UNetDDPMActionHead": (UNetHead, {}),
    f"{_TEXT}:HFTokenizer": (TextProcessor, {}),
    f"{_TEXT}:MuseEmbedding": (SentenceEmbedding, {}),
    f"{_TEXT}:CLIPTextProcessor": (ClipText, {}),
}
"""Official module, as `module:name`, to our dataclass and the defaults that differ from its own."""

_ENCODER_KINDS = (SmallStem, PatchEncoder, Resnet)
_HEAD_KINDS = (ContinuousHead, DiscreteHead, DiffusionHead, UNetHead)
_TEXT_KINDS = (TextProcessor, SentenceEmbedding, ClipText)

_OPTIONAL = {"repeat_task_tokens": False, "use_correct_attention": False}
"""Keys of "model" that may be left out, and the official defaults."""


def read_config(config: Mapping[str, Any], where: str) -> OctoConfig:
    """Reads the content of `config.json`.

    Args:
        config: the parsed file.
        where: the file's path, for messages.

    Raises:
        CheckpointError: a key that is missing, has another type or is unknown, or a module that is
            not supported; the message names it.
    """
    if not isinstance(config.get("model"), dict):
        raise CheckpointError(f"{where}: model: expected an object, got {config.get('model')!r:.80}")
    model, where_model = {**_OPTIONAL, **config["model"]}, f"{where}: model"
    fields = {
        "observation_tokenizers": lambda value, at: _modules(value, (ImageTokenizer, LowdimTokenizer), at),
        "task_tokenizers": lambda value, at: _modules(value, (LanguageTokenizer,), at),
        "heads": _head,
        "readouts": lambda value, at: {
            name: _typed(count, "Count", f"{at}.{name}") for name, count in _names(value, at).items()
        },
        "token_embedding_size": lambda value, at: _typed(value, "Count", at),
        "max_horizon": lambda value, at: _typed(value, "Count", at),
        "repeat_task_tokens": lambda value, at: _typed(value, "bool", at),
        "use_correct_attention": lambda value, at: _typed(value, "bool", at),
        "transformer_kwargs": lambda value, at: _fill(
            Transformer, _typed(value, "Mapping[str, Any]", at), at
        ),
    }
    _same_keys(model, set(fields), set(fields), where_model)
    read = {key: read_field(model[key], f"{where_model}.{key}") for key, read_field in fields.items()}
    text = config.get("text_processor")
    octo = OctoConfig(
        head=read.pop("heads"),
        transformer=read.pop("transformer_kwargs"),
        text_processor=None if text is None else _module(text, _TEXT_KINDS, f"{where}: text_processor"),
        **read,
    )
    check_support(octo, where_model)
    return octo


def _head(heads: Any, where: str) -> Head:
    """The action head; `pred_horizon` is the first releases' name of `action_horizon`."""
    if set(_names(heads, where)) != {"action"}:
        raise CheckpointError(f"{where}: expected the head 'action' alone, got {sorted(heads)}")
    spec = heads["action"]
    if isinstance(spec, dict) and isinstance(spec.get("kwargs"), dict) and "pred_horizon" in spec["kwargs"]:
        kwargs = dict(spec["kwargs"])
        kwargs["action_horizon"] = kwargs.pop("pred_horizon")
        spec = {**spec, "kwargs": kwargs}
    return _module(spec, _HEAD_KINDS, f"{where}.action")


def _modules(specs: Any, kinds: tuple[type, ...], where: str) -> dict[str, Any]:
    return {name: _module(spec, kinds, f"{where}.{name}") for name, spec in _names(specs, where).items()}


def _names(body: Any, where: str) -> Mapping[str, Any]:
    """An object whose keys name modules."""
    if not isinstance(body, dict) or any(not re.fullmatch(r"\w+", name) for name in body):
        raise CheckpointError(f"{where}: expected an object whose keys are plain names, got {body!r:.80}")
    return body


def _module(spec: Any, kinds: tuple[type, ...], where: str) -> Any:
    """The dataclass for one official module specification (module, name, args, kwargs)."""
    if not isinstance(spec, dict):
        raise CheckpointError(f"{where}: expected a module, got {spec!r:.80}")
    keys = {"module", "name", "args", "kwargs"}
    _same_keys(spec, keys, keys, where)
    official = f"{spec['module']}:{spec['name']}"
    kind, defaults = OFFICIAL.get(official, (None, {}))
    if kind not in kinds:
        supported = sorted(name for name, (kind, _) in OFFICIAL.items() if kind in kinds)
        raise CheckpointError(f"{where}: {official} is not supported here; supported: {', '.join(supported)}")
    if spec["args"] or not isinstance(spec["kwargs"], dict):
        raise CheckpointError(f"{where}: {official}: expected keywords alone, got args {spec['args']!r:.80}")
    kwargs = {**defaults, **spec["kwargs"]}
    if "name" in kwargs:
        raise CheckpointError(f"{where}: {official}: unknown keyword 'name'")
    if kind is ImageTokenizer and "encoder" in kwargs:
        kwargs["encoder"] = _module(kwargs["encoder"], _ENCODER_KINDS, f"{where}.encoder")
    return _fill(kind, {**kwargs, "name": spec["name"]}, f"{where} ({official})")


def _fill(kind: type, kwargs: Mapping[str, Any], where: str) -> Any:
    """An instance of a dataclass, every keyword checked against its fields and their types."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    missing = (dataclasses.MISSING, dataclasses.MISSING)
    required = {name for name, field in fields.items() if (field.default, field.default_factory) == missing}
    _same_keys(kwargs, required, set(fields), where)
    return kind(
        **{name: _typed(value, fields[name].type, f"{where}: {name}") for name, value in kwargs.items()}
    )


def _same_keys(body: Mapping[str, Any], required: set[str], known: set[str], where: str) -> None:
    missing, unknown = sorted(required - set(body)), sorted(set(body) - known)
    if missing or unknown:
        raise CheckpointError(f"{where}: missing {missing}, unknown {unknown}; known: {sorted(known)}")


_TYPES: Mapping[str, tuple[type, ...]] = {
    "Count": (int,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "bool": (bool,),
    "str": (str,),
    "str | None": (str, type(None)),
    "Mapping[str, Any]": (dict,),
}


def _typed(value: Any, expected: str, where: str) -> Any:
    """The value, if it is of the type that the annotation names; a list becomes a tuple."""
    if expected.startswith("tuple["):
        element = expected.removeprefix("tuple[").removesuffix(", ...]")
        if not isinstance(value, (list, tuple)):
            raise CheckpointError(f"{where}: expected a list of {element}, got {value!r:.80}")
        return tuple(_typed(item, element, where) for item in value)
    types = _TYPES.get(expected)
    if types is None:  # a module, read before
        return value
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not fits or (types == (int,) and value < (expected == "Count")):
        shown = {"Count": "a whole number of at least 1", "int": "a whole number"}.get(expected, expected)
        raise CheckpointError(f"{where}: expected {shown}, got {value!r:.80}")
    if not expected.startswith("float") or value is None:
        return value
    if not math.isfinite(value):
        raise CheckpointError(f"{where}: expected a finite number, got {value!r}")
    return float(value)
