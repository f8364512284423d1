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
        lambda config: config["model"]["heads"]["action"].update(name="UNetDDPMActionHead"),
        "UNetDDPMActionHead",
    ),
    "encoder not supported": (lambda config: encoder(config).update(name="ResNet26FILM"), "ResNet26FILM"),
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
    "film": (lambda config: encoder(config)["kwargs"].update(use_film=True), "FilmConditioning"),
    "token learner": (
        lambda config: primary(config)["kwargs"].update(use_token_learner=True),
        "TokenLearner",
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
    "other language model": (
        lambda config: config["model"]["task_tokenizers"]["language"]["kwargs"].update(encoder="distilbert"),
        "distilbert",
    ),
    "other text processor": (
        lambda config: config["text_processor"].update(name="MuseEmbedding"),
        "MuseEmbedding",
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
    encoder(config)["name"] = "ViTResnet"
    with pytest.raises(CheckpointError, match="vit_encoders:SmallStem16"):
        read_config(config, "config.json")


def test_every_supported_module_is_official() -> None:
    assert all(name.startswith("octo.") and name.count(":") == 1 for name in OFFICIAL)
