"""What a configuration may ask for that no single field shows: sizes that must fit, parts left out."""

from __future__ import annotations

from octo_ros.errors import CheckpointError
from octo_ros.model.config import (
    DiffusionHead,
    ImageTokenizer,
    LanguageTokenizer,
    LowdimTokenizer,
    OctoConfig,
    SmallStem,
)
from octo_ros.types import ACTION_AXES

STEM_PATCH = 16
"""Pixels per patch that the official stem's convolutions are taken to leave for the embedding."""

NORM_GROUPS = 32
POOLING_HEADS = 8


def check_support(config: OctoConfig, where: str) -> None:
    """Refuses a configuration that is inconsistent or asks for what is not supported.

    Args:
        config: as read, each field of its own type.
        where: place in the file, for messages.

    Raises:
        CheckpointError: naming the field, what was expected and what came.
    """
    width, heads = config.token_embedding_size, config.transformer.num_attention_heads
    if width % heads:
        raise CheckpointError(
            f"{where}: token_embedding_size: expected a multiple of "
            f"num_attention_heads = {heads}, got {width}"
        )
    if config.transformer.add_position_embedding:
        raise CheckpointError(f"{where}.transformer_kwargs: add_position_embedding true is not supported")
    if not config.readouts:
        raise CheckpointError(f"{where}.readouts: expected at least one")
    _check_head(config, f"{where}.heads.action")
    for name, tokenizer in config.observation_tokenizers.items():
        at = f"{where}.observation_tokenizers.{name}"
        if isinstance(tokenizer, ImageTokenizer):
            _check_images(tokenizer, at)
        else:
            _check_values(tokenizer, at)
    for name, tokenizer in config.task_tokenizers.items():
        _check_language(tokenizer, f"{where}.task_tokenizers.{name}")


def _check_head(config: OctoConfig, where: str) -> None:
    head = config.head
    if head.action_dim != len(ACTION_AXES):
        raise CheckpointError(
            f"{where}: action_dim: expected {len(ACTION_AXES)} ({', '.join(ACTION_AXES)}), "
            f"got {head.action_dim}"
        )
    if head.max_action <= 0:
        raise CheckpointError(f"{where}: max_action: expected a positive number, got {head.max_action}")
    if head.use_map and config.token_embedding_size % POOLING_HEADS:
        raise CheckpointError(
            f"{where}: use_map: expected token_embedding_size to be a multiple of {POOLING_HEADS}, "
            f"got {config.token_embedding_size}"
        )
    if isinstance(head, DiffusionHead) and head.time_dim < 2:
        raise CheckpointError(f"{where}: time_dim: expected at least 2, got {head.time_dim}")


def _check_images(tokenizer: ImageTokenizer, where: str) -> None:
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
        if any(features % NORM_GROUPS for features in encoder.features):
            raise CheckpointError(
                f"{where}.encoder: features: expected multiples of {NORM_GROUPS}, got {encoder.features}"
            )
        if encoder.patch_size < STEM_PATCH:
            raise CheckpointError(
                f"{where}.encoder: patch_size: expected {STEM_PATCH} or more, got {encoder.patch_size}"
            )


def _check_values(tokenizer: LowdimTokenizer, where: str) -> None:
    if tokenizer.bin_type not in ("uniform", "normal"):
        raise CheckpointError(
            f"{where}: bin_type: expected 'uniform' or 'normal', got {tokenizer.bin_type!r}"
        )
    if tokenizer.low >= tokenizer.high:
        raise CheckpointError(
            f"{where}: low: expected less than high = {tokenizer.high}, got {tokenizer.low}"
        )


def _check_language(tokenizer: LanguageTokenizer, where: str) -> None:
    if tokenizer.encoder is None or "t5" not in tokenizer.encoder:
        raise CheckpointError(
            f"{where}: language encoder {tokenizer.encoder!r} is not supported; only T5 encoders are"
        )
