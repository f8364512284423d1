"""The checkpoints that `write_references.py` writes: each model's configuration and its inputs' sizes.

"t5" holds the sizes of its language encoder, "vectors" the shapes of arrays of its task, "seeded" says
that its weights are made by `seeded_weights.py`.
"""

from __future__ import annotations

from typing import Any

COMPONENTS = "octo.model.components"


def module(place: str, name: str, **kwargs: Any) -> dict[str, Any]:
    """An official module specification."""
    return {"module": place, "name": name, "args": [], "kwargs": kwargs}


def images(encoder: str, keys: list[str] | None, goals: list[str], /, **kwargs: Any) -> dict[str, Any]:
    """An image tokenizer; keys None takes the official default."""
    stacks = {"task_stack_keys": goals, **({} if keys is None else {"obs_stack_keys": keys})}
    own = ("proper_pad_mask", "task_film_keys", "use_token_learner", "num_tokens")
    others = {name: kwargs.pop(name) for name in own if name in kwargs}
    spec = module(f"{COMPONENTS}.vit_encoders", encoder, **kwargs)
    return module(f"{COMPONENTS}.tokenizers", "ImageTokenizer", encoder=spec, **stacks, **others)


def values(**kwargs: Any) -> dict[str, Any]:
    """A tokenizer of proprioception."""
    return module(f"{COMPONENTS}.tokenizers", "LowdimObsTokenizer", **kwargs)


def head(name: str, **kwargs: Any) -> dict[str, Any]:
    """The action head."""
    return {"action": module(f"{COMPONENTS}.action_heads", name, **kwargs)}


def trunk(layers: int, heads: int, inner: int) -> dict[str, Any]:
    """Sizes of the transformer."""
    return {"num_layers": layers, "num_attention_heads": heads, "mlp_dim": inner}


def text(name: str, **kwargs: Any) -> dict[str, Any]:
    """What makes an array of an instruction."""
    return module("octo.data.utils.text_processing", name, **kwargs)


LANGUAGE = {"language": module(f"{COMPONENTS}.tokenizers", "LanguageTokenizer", encoder="t5-small")}
LANGUAGE_ARRAY = {"language": module(f"{COMPONENTS}.tokenizers", "LanguageTokenizer")}

REFERENCES: dict[str, dict[str, Any]] = {
    "gated_t5_binned_proprio": {
        "t5": {"vocab_size": 160, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4,
               "feed_forward_proj": "gated-gelu"},
        "window": 3, "sizes": {"primary": (64, 96), "wrist": (32, 32)}, "proprio": 5, "length": 10,
        "model": {
            "observation_tokenizers": {
                "wrist": images("PatchEncoder", ["image_wrist"], ["image_wrist"],
                                patch_size=16, num_features=24),
                "primary": images("SmallStem32", ["image_primary"], ["image_.*imary"],
                                  features=[32, 64, 32, 32], num_features=24, img_norm_type="imagenet"),
                "proprio": values(obs_keys=["proprio"], discretize=True, n_bins=32, bin_type="normal"),
            },
            "task_tokenizers": LANGUAGE,
            "heads": head("DiffusionActionHead", readout_key="readout_action", use_map=True, time_dim=16,
                          num_blocks=2, hidden_dim=48, use_layer_norm=False, diffusion_steps=10,
                          max_action=2.0, action_horizon=5),
            "readouts": {"value": 1, "action": 3}, "token_embedding_size": 32, "max_horizon": 4,
            "repeat_task_tokens": True, "use_correct_attention": True, "transformer_kwargs": trunk(2, 4, 48),
        },
    },
    "old_attention_stacked_cameras": {
        "t5": {"vocab_size": 160, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 3, "num_heads": 3,
               "feed_forward_proj": "relu", "relative_attention_num_buckets": 16},
        "window": 2, "sizes": {"primary": (48, 48), "wrist": (48, 48)}, "proprio": 4, "length": 7,
        "model": {
            "observation_tokenizers": {
                "zeta": images("SmallStem", ["image_.*"], ["image_.*"], patch_size=16, features=[32, 32],
                               kernel_sizes=[3, 5], strides=[2, 4], padding=[1, 2], num_features=16),
                "alpha": values(obs_keys=["prop.*"], discretize=True, n_bins=16, low=-1, high=1),
            },
            "task_tokenizers": LANGUAGE,
            "heads": head("ContinuousActionHead", readout_key="readout_action", action_horizon=3),
            "readouts": {"action": 2}, "token_embedding_size": 24, "max_horizon": 2,
            "transformer_kwargs": trunk(2, 3, 40),
        },
    },
    "goal_only_pooled_observations": {
        "t5": None,
        "window": 2, "sizes": {"primary": (32, 48)}, "proprio": None, "length": None,
        "model": {
            "observation_tokenizers": {
                "primary": images("SmallStem16", None, ["image_primary"],
                                  features=[32, 32, 32, 32], num_features=16),
            },
            "task_tokenizers": {},
            "heads": head("MSEActionHead", readout_key="obs", action_horizon=2),
            "readouts": {"action": 1}, "token_embedding_size": 32, "max_horizon": 3,
            "repeat_task_tokens": True, "use_correct_attention": True, "transformer_kwargs": trunk(1, 2, 40),
        },
    },
    "long_instruction_observation_readout": {
        "t5": {"vocab_size": 160, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3,
               "feed_forward_proj": "relu"},
        "window": 2, "sizes": {"primary": (32, 32), "wrist": (32, 32)}, "proprio": 3, "length": 70,
        "model": {
            "observation_tokenizers": {
                "primary": images("PatchEncoder", ["image_primary"], [], patch_size=8, num_features=16,
                                  proper_pad_mask=False),
                "proprio": values(obs_keys=["proprio"]),
                "wrist": images("PatchEncoder", ["image_wrist"], [], patch_size=16, num_features=16),
            },
            "task_tokenizers": LANGUAGE,
            "heads": head("DiffusionActionHead", readout_key="obs_wrist", diffusion_steps=6, hidden_dim=32),
            "readouts": {"action": 1}, "token_embedding_size": 32, "max_horizon": 3,
            "repeat_task_tokens": True, "use_correct_attention": False, "transformer_kwargs": trunk(2, 2, 40),
        },
    },
    "film_one_token_bins": {
        "t5": None, "vectors": {"language_instruction": (12,), "target": (5,)}, "text": text("MuseEmbedding"),
        "window": 2, "sizes": {"primary": (48, 32), "wrist": (32, 32)}, "proprio": None, "length": None,
        "model": {
            "observation_tokenizers": {
                "primary": images("SmallStem16", ["image_primary"], ["image_primary"], use_film=True,
                                  features=[32, 32], kernel_sizes=[3, 3], strides=[4, 2], padding=[1, 1],
                                  num_features=24, task_film_keys=["target", "language_instruction"]),
                "wrist": images("PatchEncoder", ["image_wrist"], ["image_wrist"], use_film=True,
                                patch_size=16, num_features=16, task_film_keys=["language_instruction"]),
            },
            "task_tokenizers": LANGUAGE_ARRAY,
            "heads": head("DiscreteActionHead", readout_key="readout_action", token_per="", vocab_size=16,
                          action_horizon=2),
            "readouts": {"action": 1}, "token_embedding_size": 24, "max_horizon": 2,
            "repeat_task_tokens": True, "use_correct_attention": True, "transformer_kwargs": trunk(2, 3, 40),
        },
    },
    "resnet_token_learner_bins_per_axis": {
        "t5": None, "vectors": {"language_instruction": (3, 10)},
        "text": text("HFTokenizer", tokenizer_name="distilbert-base-uncased", encode_with_model=True),
        "window": 2, "sizes": {"primary": (30, 46), "wrist": (33, 29)}, "proprio": None, "length": None,
        "model": {
            "observation_tokenizers": {
                "primary": images("ViTResnet", ["image_primary"], ["image_primary"], width=0.5,
                                  num_layers=[1]),
                "wrist": images("ViTResnet", ["image_wrist"], [], width=0.5, img_norm_type="imagenet",
                                use_token_learner=True, num_tokens=5),
            },
            "task_tokenizers": LANGUAGE_ARRAY,
            "heads": head("TokenPerDimActionHead", readout_key="obs_wrist", use_map=True, action_horizon=2,
                          normalization_type="normal"),
            "readouts": {"action": 1}, "token_embedding_size": 32, "max_horizon": 2,
            "use_correct_attention": True, "transformer_kwargs": trunk(1, 2, 40),
        },
    },
    "token_learner_bins_per_step": {
        "t5": None,
        "window": 2, "sizes": {"primary": (32, 48)}, "proprio": 3, "length": None,
        "model": {
            "observation_tokenizers": {
                "primary": images("PatchEncoder", ["image_primary"], ["image_primary"], patch_size=8,
                                  num_features=16, use_token_learner=True),
                "proprio": values(obs_keys=["proprio"]),
            },
            "task_tokenizers": {},
            "heads": head("DiscreteActionHead", readout_key="readout_action", token_per="action_horizon",
                          action_horizon=3, vocab_size=32, normalization_type="normal"),
            "readouts": {"action": 3}, "token_embedding_size": 24, "max_horizon": 3,
            "use_correct_attention": True, "transformer_kwargs": trunk(2, 3, 40),
        },
    },
    "seeded_resnet26_film": {
        "t5": None, "seeded": True, "vectors": {"language_instruction": (2, 6)}, "text": None,
        "window": 2, "sizes": {"primary": (50, 70), "wrist": (31, 24)}, "proprio": None, "length": None,
        "model": {
            "observation_tokenizers": {
                "primary": images("ResNet26FILM", ["image_primary"], ["image_primary"], width=0.5,
                                  task_film_keys=["language_instruction"]),
                "wrist": images("ViTResnet", ["image_wrist"], ["image_wrist"], width=0.5, use_film=True,
                                task_film_keys=["language_instruction"]),
            },
            "task_tokenizers": {},
            "heads": head("DiscreteActionHead", readout_key="readout_action", action_horizon=2,
                          vocab_size=20),
            "readouts": {"action": 14}, "token_embedding_size": 32, "max_horizon": 2,
            "use_correct_attention": True, "transformer_kwargs": trunk(2, 2, 40),
        },
    },
    "seeded_unet_clipped_flattened_readout": {
        "t5": None, "seeded": True,
        "window": 1, "sizes": {"primary": (32, 32)}, "proprio": None, "length": None,
        "model": {
            "observation_tokenizers": {
                "primary": images("PatchEncoder", ["image_primary"], ["image_primary"], patch_size=16,
                                  num_features=16),
            },
            "task_tokenizers": {},
            "heads": head("UNetDDPMActionHead", readout_key="readout_action", action_dim=7, action_horizon=4,
                          use_map=False, timesteps=8, clip_sample=1.5, variance_type="fixed_small"),
            "readouts": {"action": 2}, "token_embedding_size": 24, "max_horizon": 2,
            "use_correct_attention": True, "transformer_kwargs": trunk(1, 3, 40),
        },
    },
    "seeded_unet_unbounded_mean_readout": {
        "t5": None, "seeded": True,
        "window": 1, "sizes": {"primary": (32, 32)}, "proprio": None, "length": None,
        "model": {
            "observation_tokenizers": {
                "primary": images("PatchEncoder", ["image_primary"], ["image_primary"], patch_size=16,
                                  num_features=16),
            },
            "task_tokenizers": {},
            "heads": head("UNetDDPMActionHead", readout_key="readout_action", action_dim=7, action_horizon=8,
                          use_map=False, flatten_tokens=False, timesteps=5),
            "readouts": {"action": 2}, "token_embedding_size": 24, "max_horizon": 1,
            "use_correct_attention": True, "transformer_kwargs": trunk(1, 3, 40),
        },
    },
}  # fmt: skip
