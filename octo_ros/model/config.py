"""An official `config.json`, read into frozen dataclasses.

`OFFICIAL` is the one table from official module names to ours. A module that is not in it and
a keyword that its dataclass lacks are errors that name it, before any work starts; a keyword
left out takes the official default, which is the default here. Keywords that act in training
alone are read and kept, so that they are known ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Mapping

from octo_ros.errors import CheckpointError
from octo_ros.types import ACTION_AXES

_TOKENIZERS = "octo.model.components.tokenizers"
_ENCODERS = "octo.model.components.vit_encoders"
_HEADS = "octo.model.components.action_heads"
_TEXT = "octo.data.utils.text_processing"


@dataclass(frozen=True)
class SmallStem:
    """Weight-standardised convolutions, then a patch embedding: `SmallStem` and its two sizes."""

    name: str
    use_film: bool = False
    patch_size: int = 32
    kernel_sizes: tuple[int, ...] = (3, 3, 3, 3)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    features: tuple[int, ...] = (32, 96, 192, 384)
    padding: tuple[int, ...] = (1, 1, 1, 1)
    num_features: int = 512
    img_norm_type: str = "default"


@dataclass(frozen=True)
class PatchEncoder:
    """One convolution that cuts the image into patches."""

    name: str
    use_film: bool = False
    patch_size: int = 32
    num_features: int = 512
    img_norm_type: str = "default"


@dataclass(frozen=True)
class ImageTokenizer:
    """Frames, and goal images stacked onto them, into one token per patch."""

    name: str
    encoder: SmallStem | PatchEncoder
    use_token_learner: bool = False
    num_tokens: int = 8
    conditioning_type: str = "none"
    obs_stack_keys: tuple[str, ...] = ("image_.*", "depth_.*")
    task_stack_keys: tuple[str, ...] = ()
    task_film_keys: tuple[str, ...] = ()
    proper_pad_mask: bool = True


@dataclass(frozen=True)
class LowdimTokenizer:
    """Proprioception: one token per value, plain or as a one-hot bin."""

    name: str
    n_bins: int = 256
    bin_type: str = "uniform"
    low: float = 0.0
    high: float = 1.0
    obs_keys: tuple[str, ...] = ()
    discretize: bool = False
    proper_pad_mask: bool = True


@dataclass(frozen=True)
class LanguageTokenizer:
    """An instruction through a T5 encoder."""

    name: str
    encoder: str | None = None
    finetune_encoder: bool = False
    proper_pad_mask: bool = True


@dataclass(frozen=True)
class Transformer:
    """The trunk: pre-norm blocks and a last norm."""

    num_layers: int
    mlp_dim: int
    num_attention_heads: int
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.1
    add_position_embedding: bool = False


@dataclass(frozen=True)
class ContinuousHead:
    """Actions in one pass: `ContinuousActionHead`, `MSEActionHead`, `L1ActionHead`."""

    name: str
    readout_key: str
    use_map: bool = False
    action_horizon: int = 1
    action_dim: int = 7
    max_action: float = 5.0
    loss_type: str = "mse"


@dataclass(frozen=True)
class DiffusionHead:
    """Actions by denoising, with an MLP as score network: `DiffusionActionHead`."""

    name: str
    readout_key: str
    use_map: bool = False
    action_horizon: int = 1
    action_dim: int = 7
    max_action: float = 5.0
    loss_type: str = "mse"
    time_dim: int = 32
    num_blocks: int = 3
    dropout_rate: float = 0.0
    hidden_dim: int = 256
    use_layer_norm: bool = True
    diffusion_steps: int = 20
    n_diffusion_samples: int = 1


@dataclass(frozen=True)
class TextProcessor:
    """How words become token ids."""

    name: str
    tokenizer_name: str
    tokenizer_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"max_length": 64})
    encode_with_model: bool = False


OFFICIAL: Mapping[str, tuple[type, Mapping[str, Any]]] = {
    f"{_TOKENIZERS}:ImageTokenizer": (ImageTokenizer, {}),
    f"{_TOKENIZERS}:LowdimObsTokenizer": (LowdimTokenizer, {}),
    f"{_TOKENIZERS}:LanguageTokenizer": (LanguageTokenizer, {}),
    f"{_ENCODERS}:SmallStem": (SmallStem, {}),
    f"{_ENCODERS}:SmallStem16": (SmallStem, {"patch_size": 16}),
    f"{_ENCODERS}:SmallStem32": (SmallStem, {"patch_size": 32}),
    f"{_ENCODERS}:PatchEncoder": (PatchEncoder, {}),
    f"{_HEADS}:ContinuousActionHead": (ContinuousHead, {}),
    f"{_HEADS}:MSEActionHead": (ContinuousHead, {"use_map": True}),
    f"{_HEADS}:L1ActionHead": (ContinuousHead, {"use_map": True, "loss_type": "l1"}),
    f"{_HEADS}:DiffusionActionHead": (DiffusionHead, {}),
    f"{_TEXT}:HFTokenizer": (TextProcessor, {}),
}
"""Official module, as `module:name`, to our dataclass and the defaults that differ from its own."""


@dataclass(frozen=True)
class OctoConfig:
    """The model of a checkpoint.

    Attributes:
        observation_tokenizers: name ("primary") to its tokenizer, in the order of the tokens.
        task_tokenizers: name ("language") to its tokenizer, in the order of the tokens.
        readouts: name ("action") to its number of tokens.
        head: the action head.
        token_embedding_size: width of the transformer.
        max_horizon: timesteps that the position embeddings cover.
        repeat_task_tokens: whether the task tokens appear again at each timestep.
        use_correct_attention: false for the 1.0 checkpoints, see `attention.py`.
        transformer: sizes of the trunk.
        text_processor: the tokenizer of instructions, or None.
    """

    observation_tokenizers: Mapping[str, ImageTokenizer | LowdimTokenizer]
    task_tokenizers: Mapping[str, LanguageTokenizer]
    readouts: Mapping[str, int]
    head: ContinuousHead | DiffusionHead
    token_embedding_size: int
    max_horizon: int
    repeat_task_tokens: bool
    use_correct_attention: bool
    transformer: Transformer
    text_processor: TextProcessor | None


def read_config(config: Mapping[str, Any], where: str) -> OctoConfig:
    """Reads the content of `config.json`.

    Args:
        config: the parsed file.
        where: the file's path, for messages.

    Raises:
        CheckpointError: a key that is missing, has another type or is unknown, or a module that is
            not supported; the message names it.
    """
    model = _get(config, "model", dict, where)
    where_model = f"{where}: model"
    heads = _get(model, "heads", dict, where_model)
    if set(heads) != {"action"}:
        raise CheckpointError(f"{where_model}.heads: expected the head 'action' alone, got {sorted(heads)}")
    known = {field.name for field in dataclasses.fields(OctoConfig)} - {"head", "transformer", "text_processor"}
    unknown = set(model) - known - {"heads", "transformer_kwargs"}
    if unknown:
        raise CheckpointError(f"{where_model}: not supported: {sorted(unknown)}")
    text = config.get("text_processor")
    read = OctoConfig(
        observation_tokenizers=_modules(
            model, "observation_tokenizers", (ImageTokenizer, LowdimTokenizer), where_model
        ),
        task_tokenizers=_modules(model, "task_tokenizers", (LanguageTokenizer,), where_model),
        readouts={
            name: _typed(count, "int", f"{where_model}.readouts.{name}")
            for name, count in _get(model, "readouts", dict, where_model).items()
        },
        head=_head(heads["action"], f"{where_model}.heads.action"),
        token_embedding_size=_get(model, "token_embedding_size", int, where_model),
        max_horizon=_get(model, "max_horizon", int, where_model),
        repeat_task_tokens=_typed(
            model.get("repeat_task_tokens", False), "bool", f"{where_model}.repeat_task_tokens"
        ),
        use_correct_attention=_typed(
            model.get("use_correct_attention", False), "bool", f"{where_model}.use_correct_attention"
        ),
        transformer=_fill(
            Transformer,
            _get(model, "transformer_kwargs", dict, where_model),
            f"{where_model}.transformer_kwargs",
        ),
        text_processor=None if text is None else _module(text, (TextProcessor,), f"{where}: text_processor"),
    )
    _check_sizes(read, where_model)
    return read


def _check_sizes(config: OctoConfig, where: str) -> None:
    """What no single field shows: numbers that must divide or agree, and features left out."""
    width, heads = config.token_embedding_size, config.transformer.num_attention_heads
    if min(width, heads, config.max_horizon, *config.readouts.values(), 1) < 1 or width % heads:
        raise CheckpointError(
            f"{where}: expected positive sizes, token_embedding_size a multiple of num_attention_heads; "
            f"got token_embedding_size {width}, num_attention_heads {heads}, max_horizon "
            f"{config.max_horizon}, readouts {dict(config.readouts)}"
        )
    if config.transformer.add_position_embedding:
        raise CheckpointError(f"{where}.transformer_kwargs: add_position_embedding true is not supported")
    if config.head.action_dim != len(ACTION_AXES):
        raise CheckpointError(
            f"{where}.heads.action: action_dim: expected {len(ACTION_AXES)} ({', '.join(ACTION_AXES)}), "
            f"got {config.head.action_dim}"
        )
    if config.head.action_horizon < 1 or config.head.max_action <= 0:
        raise CheckpointError(
            f"{where}.heads.action: expected a positive action_horizon and max_action, "
            f"got {config.head.action_horizon} and {config.head.max_action}"
        )
    for name, tokenizer in config.observation_tokenizers.items():
        if isinstance(tokenizer, ImageTokenizer):
            _check_image_tokenizer(tokenizer, f"{where}.observation_tokenizers.{name}")
        elif tokenizer.bin_type not in ("uniform", "normal"):
            raise CheckpointError(
                f"{where}.observation_tokenizers.{name}: bin_type: expected 'uniform' or 'normal', "
                f"got {tokenizer.bin_type!r}"
            )
    for name, tokenizer in config.task_tokenizers.items():
        if tokenizer.encoder is None or "t5" not in tokenizer.encoder:
            raise CheckpointError(
                f"{where}.task_tokenizers.{name}: language encoder {tokenizer.encoder!r} is not supported; "
                "only T5 encoders are"
            )


def _check_image_tokenizer(tokenizer: ImageTokenizer, where: str) -> None:
    encoder = tokenizer.encoder
    if tokenizer.use_token_learner:
        raise CheckpointError(f"{where}: TokenLearner (use_token_learner true) is not supported")
    if tokenizer.task_film_keys or encoder.use_film:
        raise CheckpointError(f"{where}: FilmConditioning (task_film_keys, use_film) is not supported")
    if encoder.img_norm_type not in ("default", "imagenet"):
        raise CheckpointError(
            f"{where}.encoder: img_norm_type: expected 'default' or 'imagenet', got {encoder.img_norm_type!r}"
        )
    if isinstance(encoder, SmallStem):
        if any(features % 32 for features in encoder.features):
            raise CheckpointError(f"{where}.encoder: features: expected multiples of 32, got {encoder.features}")
        if encoder.patch_size < 16:
            raise CheckpointError(f"{where}.encoder: patch_size: expected 16 or more, got {encoder.patch_size}")


def _head(spec: Any, where: str) -> ContinuousHead | DiffusionHead:
    """The action head; `pred_horizon` is the first releases' name of `action_horizon`."""
    if isinstance(spec, dict) and isinstance(spec.get("kwargs"), dict) and "pred_horizon" in spec["kwargs"]:
        kwargs = dict(spec["kwargs"])
        kwargs["action_horizon"] = kwargs.pop("pred_horizon")
        spec = {**spec, "kwargs": kwargs}
    return _module(spec, (ContinuousHead, DiffusionHead), where)


def _modules(model: Mapping[str, Any], key: str, kinds: tuple[type, ...], where: str) -> dict[str, Any]:
    specs = _get(model, key, dict, where)
    return {name: _module(spec, kinds, f"{where}.{key}.{name}") for name, spec in specs.items()}


def _module(spec: Any, kinds: tuple[type, ...], where: str) -> Any:
    """The dataclass for one official module specification (module, name, args, kwargs)."""
    if not isinstance(spec, dict) or set(spec) != {"module", "name", "args", "kwargs"}:
        got = sorted(spec) if isinstance(spec, dict) else repr(spec)
        raise CheckpointError(f"{where}: expected a module with keys module, name, args, kwargs, got {got}")
    official = f"{spec['module']}:{spec['name']}"
    kind, defaults = OFFICIAL.get(official, (None, {}))
    if kind not in kinds:
        supported = sorted(name for name, (kind, _) in OFFICIAL.items() if kind in kinds)
        raise CheckpointError(f"{where}: {official} is not supported; supported here: {', '.join(supported)}")
    if spec["args"] or not isinstance(spec["kwargs"], dict):
        raise CheckpointError(f"{where}: {official}: expected keyword arguments alone, got args {spec['args']!r}")
    kwargs = {**defaults, **spec["kwargs"]}
    if kind is ImageTokenizer and "encoder" in kwargs:
        kwargs["encoder"] = _module(kwargs["encoder"], (SmallStem, PatchEncoder), f"{where}.encoder")
    if "name" in kwargs:
        raise CheckpointError(f"{where}: {official}: unknown keyword 'name'")
    return _fill(kind, {**kwargs, "name": spec["name"]}, f"{where} ({official})")


def _fill(kind: type, kwargs: Mapping[str, Any], where: str) -> Any:
    """An instance of a dataclass, every keyword checked against its fields and their types."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(kwargs) - set(fields))
    if unknown:
        raise CheckpointError(f"{where}: unknown keywords {unknown}; known: {sorted(set(fields) - {'name'})}")
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if not required <= set(kwargs):
        raise CheckpointError(f"{where}: missing {sorted(required - set(kwargs))}")
    return kind(**{name: _typed(value, fields[name].type, f"{where}: {name}") for name, value in kwargs.items()})


_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "str | None": (str, type(None)),
    "Mapping[str, Any]": (dict,),
}


def _typed(value: Any, expected: str, where: str) -> Any:
    """The value, if it is of the type that the annotation names; a list becomes a tuple."""
    if expected.startswith("tuple["):
        element = expected[len("tuple[") : -len(", ...]")]
        if not isinstance(value, (list, tuple)):
            raise CheckpointError(f"{where}: expected a list of {element}, got {value!r}")
        return tuple(_typed(item, element, where) for item in value)
    types = _TYPES.get(expected)
    if types is None:  # a module, read before
        return value
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise CheckpointError(f"{where}: expected {expected}, got {value!r}")
    return float(value) if expected == "float" else value


def _get(body: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    if not isinstance(body, dict) or key not in body:
        raise CheckpointError(f"{where}: missing {key!r}")
    if not isinstance(body[key], kind) or isinstance(body[key], bool):
        raise CheckpointError(f"{where}: {key}: expected {kind.__name__}, got {body[key]!r:.200}")
    return body[key]
