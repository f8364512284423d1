"""Makes the demo's data again: the bag, a tokenizer that knows the bag's words, and the bundle.

    python demo/make_demo.py BAG CHECKPOINT

BAG is a rosbag2 of BridgeData episodes that start with a message on /octo/instruction;
CHECKPOINT an official Octo checkpoint directory. What the shipped files were made of is in
demo/README.md.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from octo_ros.bags.player import copy_episodes, messages
from octo_ros.export import export_checkpoint

HERE = Path(__file__).resolve().parent
EPISODES = 12
VOCABULARY = 384
NOTICE = (
    "RANDOM WEIGHTS: this bundle is not a trained policy; "
    "its actions mean nothing and must not move a real arm."
)


def train_tokenizer(sentences: list[str], path: Path) -> None:
    """Writes a byte-pair tokenizer with T5's special tokens: <pad> 0, </s> 1 at the end, <unk> 2."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789.,'-"),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(path))


def main() -> None:
    """Cuts the bag, trains the tokenizer on its instructions, exports the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path)
    parser.add_argument("checkpoint", type=Path)
    options = parser.parse_args()
    for folder in ("bag", "bundle"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
    copy_episodes(options.bag, HERE / "bag", EPISODES)
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = Path(scratch) / "tokenizer.json"
        sentences = [message.data for _, _, message in messages(options.bag, ("/octo/instruction",))]
        train_tokenizer(sentences, tokenizer)
        export_checkpoint(
            options.checkpoint, HERE / "bundle", tokenizer=tokenizer, dataset="bridge_dataset", notice=NOTICE
        )


if __name__ == "__main__":
    main()
