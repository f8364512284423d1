"""Reading config.json: official defaults, and everything that is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from official_checkpoint import tiny_config

from octo_ros.errors import CheckpointError
from octo_ros.model.official import OFFICIAL, read_config

Edit = Callable[[dict[str, Any]], Any]


def head_kwargs(config: dict[str, Any]) -> dict[str, Any]:
    return config["model"]["heads"]["action"]["kwargs"]


def primary(config: dict[str, Any]) -> dict[str, Any]:
    return config["model"]["observation_tokenizers"]["primary"]


def encoder(config: dict[str, Any]) -> dict[str, Any]:
    return primary(config)["kwargs"]["encoder"]


def set_encoder(config: dict[str, Any], name: str, **kwargs: Any) -> None:
    encoder(config).update(name=name, kwargs=kwargs)


def set_head(config: dict[str, Any], name: str, **kwargs: Any) -> None:
    config["model"]["heads"]["action"].update(name=name, kwargs={"readout_key": "readout_action", **kwargs})


UNET = {"action_dim": 7, "action_horizon": 4}


def test_keywords_left_out_take_the_official_defaults() -> None:
    config = tiny_config()
    encoder(config)["kwargs"] = {}
    head_kwargs(config).clear()
    head_kwargs(config)["readout_key"] = "readout_action"
    del config["model"]["repeat_task_tokens"], config["model"]["use_correct_attention"]
    read = read_config(config, "config.json")
    stem = read.observation_tokenizers["primary"].encoder
    assert (stem.patch_size, stem.features, stem.num_features) == (16, (32, 96, 192, 384), 512)
    assert (read.head.action_horizon, read.head.max_action, read.head.use_map) == (1, 5.0, False)
    assert (read.head.diffusion_steps, read.head.time_dim, read.head.hidden_dim) == (20, 32, 256)
    assert (read.repeat_task_tokens, read.use_correct_attention) == (False, False)


def test_l1_head_pools_by_attention_unless_told_otherwise() -> None:
    config = tiny_config()
    config["model"]["heads"]["action"]["name"] = "L1ActionHead"
    config["model"]["heads"]["action"]["kwargs"] = {"readout_key": "readout_action"}
    assert read_config(config, "config.json").head.use_map
    head_kwargs(config)["use_map"] = False
    assert not read_config(config, "config.json").head.use_map


def test_resnet_26_is_conditioned_unless_told_otherwise() -> None:
    config = tiny_config()
    set_encoder(config, "ResNet26FILM")
    primary(config)["kwargs"]["task_film_keys"] = ["language_instruction"]
    read = read_config(config, "config.json").observation_tokenizers["primary"].encoder
    assert (read.use_film, read.num_layers, read.num_features) == (True, (2, 2, 2, 2), 2048)


@pytest.mark.parametrize(
    ("token_per", "tokens"), [("", 1), ("action_horizon", 3), ("action_dim_and_action_horizon", 21)]
)
def test_discrete_head_decodes_from_as_many_tokens_as_token_per_says(token_per: str, tokens: int) -> None:
    config = tiny_config()
    set_head(config, "DiscreteActionHead", token_per=token_per, action_horizon=3)
    config["model"]["readouts"]["action"] = tokens
    head = read_config(config, "config.json").head
    assert (head.tokens, head.vocab_size, head.use_map) == (tokens, 256, False)


def test_unet_flattens_tokens_unless_told_otherwise() -> None:
    config = tiny_config()
    set_head(config, "UNetDDPMActionHead", **UNET, use_map=False)
    head = read_config(config, "config.json").head
    assert (head.flatten_tokens, head.timesteps, head.clip_sample) == (True, 100, None)
    assert head.variance_type == "fixed_large"


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("MuseEmbedding", {}), ("CLIPTextProcessor", {}), ("CLIPTextProcessor", {"tokenizer_kwargs": {}})],
)
def test_a_text_processor_that_is_not_rebuilt_keeps_its_name(name: str, kwargs: dict[str, Any]) -> None:
    config = tiny_config()
    config["text_processor"].update(name=name, kwargs=kwargs)
    assert read_config(config, "config.json").text_processor.name == name


def test_pred_horizon_is_the_old_name_of_action_horizon() -> None:
    config = tiny_config()
    head_kwargs(config)["pred_horizon"] = head_kwargs(config).pop("action_horizon")
    assert read_config(config, "config.json").head.action_horizon == 3


def test_tokens_keep_the_order_of_the_configuration() -> None:
    config = tiny_config()
    tokenizers = config["model"]["observation_tokenizers"]
    config["model"]["observation_tokenizers"] = {name: tokenizers[name] for name in ("wrist", "primary")}
    assert list(read_config(config, "config.json").observation_tokenizers) == ["wrist", "primary"]


REFUSED: dict[str, tuple[Edit, str]] = {
    "model missing": (lambda config: config.pop("model"), "model"),
    "model not an object": (lambda config: config.update(model=3), "model"),
    "heads missing": (lambda config: config["model"].pop("heads"), "heads"),
    "unknown key of model": (lambda config: config["model"].update(extra=1), "extra"),
    "two heads": (lambda config: config["model"]["heads"].update(value={}), "value"),
    "head not supported": (
        lambda config: config["model"]["heads"]["action"].update(name="GaussianActionHead"),
        "GaussianActionHead is not supported",
    ),
    "encoder not supported": (
        lambda config: encoder(config).update(name="ResNet34"),
        "ResNet34 is not supported",
    ),
    "tokenizer not supported": (lambda config: primary(config).update(name="BinTokenizer"), "BinTokenizer"),
    "module of another package": (
        lambda config: primary(config).update(module="mine.tokenizers"),
        "mine.tokenizers:ImageTokenizer",
    ),
    "observation tokenizer as a head": (
        lambda config: config["model"]["heads"].update(action=primary(config)),
        "ImageTokenizer",
    ),
    "module without kwargs": (lambda config: primary(config).pop("kwargs"), "kwargs"),
    "positional arguments": (lambda config: primary(config).update(args=[1]), "keywords alone"),
    "unknown keyword": (lambda config: head_kwargs(config).update(colour="red"), "colour"),
    "keyword of the base class": (lambda config: head_kwargs(config).update(name="x"), "'name'"),
    "readout_key missing": (lambda config: head_kwargs(config).pop("readout_key"), "readout_key"),
    "encoder missing": (lambda config: primary(config)["kwargs"].pop("encoder"), "encoder"),
    "horizon zero": (lambda config: head_kwargs(config).update(action_horizon=0), "action_horizon"),
    "horizon a word": (lambda config: head_kwargs(config).update(action_horizon="four"), "action_horizon"),
    "horizon a flag": (lambda config: head_kwargs(config).update(action_horizon=True), "action_horizon"),
    "flag a number": (lambda config: head_kwargs(config).update(use_map=1), "use_map"),
    "features not a list": (lambda config: encoder(config)["kwargs"].update(features=32), "features"),
    "features not of 32": (lambda config: encoder(config)["kwargs"].update(features=[32, 40]), "features"),
    "unknown image normalization": (
        lambda config: encoder(config)["kwargs"].update(img_norm_type="none"),
        "img_norm_type",
    ),
    "film without keys": (lambda config: encoder(config)["kwargs"].update(use_film=True), "task_film_keys"),
    "keys without film": (
        lambda config: primary(config)["kwargs"].update(task_film_keys=["language_instruction"]),
        "task_film_keys",
    ),
    "token learner on a width not of its heads": (
        lambda config: (
            primary(config)["kwargs"].update(use_token_learner=True),
            encoder(config)["kwargs"].update(num_features=12),
        ),
        "use_token_learner: expected the encoder's features to be a multiple of 8, got 12",
    ),
    "patches that the stem cannot leave": (
        lambda config: encoder(config)["kwargs"].update(patch_size=8),
        "patch_size: expected 16 or more, got 8",
    ),
    "resnet too narrow": (
        lambda config: set_encoder(config, "ViTResnet", width=0.6),
        "width: expected 64 * width to be a multiple of 32, got width 0.6",
    ),
    "resnet of endless width": (
        lambda config: set_encoder(config, "ViTResnet", width=float("inf")),
        "width: expected a finite number",
    ),
    "bins of an unknown kind": (
        lambda config: set_head(config, "DiscreteActionHead", normalization_type="bounds"),
        "normalization_type: expected one of 'uniform', 'normal', got 'bounds'",
    ),
    "tokens of an unknown kind": (
        lambda config: set_head(config, "DiscreteActionHead", token_per="action_dim"),
        "token_per",
    ),
    "readout of too few tokens": (
        lambda config: set_head(config, "TokenPerDimActionHead", action_horizon=2),
        "expected 14 tokens under readout_key 'readout_action', got 1",
    ),
    "U-Net without use_map, which counts as true": (
        lambda config: set_head(config, "UNetDDPMActionHead", **UNET),
        "use_map: expected false",
    ),
    "U-Net with use_map": (
        lambda config: set_head(config, "UNetDDPMActionHead", **UNET, use_map=True, flatten_tokens=False),
        "use_map: expected false",
    ),
    "U-Net over a horizon that it cannot halve": (
        lambda config: set_head(config, "UNetDDPMActionHead", **{**UNET, "action_horizon": 6}, use_map=False),
        "action_horizon: expected a multiple of 4",
    ),
    "U-Net with an unknown variance": (
        lambda config: set_head(config, "UNetDDPMActionHead", **UNET, use_map=False, variance_type="learned"),
        "variance_type: expected one of 'fixed_large', 'fixed_small', got 'learned'",
    ),
    "U-Net that clips to nothing": (
        lambda config: set_head(config, "UNetDDPMActionHead", **UNET, use_map=False, clip_sample=0),
        "clip_sample: expected a positive number",
    ),
    "U-Net without a horizon": (
        lambda config: set_head(config, "UNetDDPMActionHead", action_dim=7, use_map=False),
        "action_horizon",
    ),
    "14 joints": (lambda config: head_kwargs(config).update(action_dim=14), "action_dim"),
    "no bound on actions": (lambda config: head_kwargs(config).update(max_action=0.0), "max_action"),
    "width not of heads": (
        lambda config: config["model"].update(token_embedding_size=15),
        "num_attention_heads",
    ),
    "pooling width": (
        lambda config: (
            config["model"].update(token_embedding_size=12),
            head_kwargs(config).update(use_map=True),
        ),
        "use_map",
    ),
    "position embedding": (
        lambda config: config["model"]["transformer_kwargs"].update(add_position_embedding=True),
        "add_position_embedding",
    ),
    "layers missing": (lambda config: config["model"]["transformer_kwargs"].pop("num_layers"), "num_layers"),
    "other text processor": (
        lambda config: config["text_processor"].update(name="WordPieces"),
        "WordPieces is not supported",
    ),
    "keyword of another text processor": (
        lambda config: config["text_processor"].update(name="MuseEmbedding"),
        "unknown ['tokenizer_kwargs', 'tokenizer_name']",
    ),
    "readout without tokens": (
        lambda config: config["model"].update(readouts={"action": 0}),
        "readouts.action",
    ),
    "no readout": (lambda config: config["model"].update(readouts={}), "readouts"),
    "name with a slash": (
        lambda config: config["model"]["observation_tokenizers"].update({"a/b": primary(config)}),
        "plain names",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    edit, said = REFUSED[name]
    config = tiny_config()
    edit(config)
    with pytest.raises(CheckpointError) as caught:
        read_config(config, "somewhere/config.json")
    assert "somewhere/config.json" in str(caught.value)
    assert said in str(caught.value)


def test_a_refused_module_names_those_that_are_supported() -> None:
    config = tiny_config()
    encoder(config)["name"] = "ResNet34"
    with pytest.raises(CheckpointError, match="vit_encoders:SmallStem16"):
        read_config(config, "config.json")


def test_every_supported_module_is_official() -> None:
    assert all(name.startswith("octo.") and name.count(":") == 1 for name in OFFICIAL)
