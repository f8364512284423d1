"""The official JAX code and the engine side by side, at an official size with random weights.

    python bench/official.py --python JAX_PYTHON --octo CHECKOUT [--size small base]

JAX_PYTHON is the interpreter of an environment with jax 0.4.20, flax 0.7.5, transformers 4.34,
distrax 0.1.5 and einops; CHECKOUT a checkout of octo-models/octo at 241fb35. Both load the same
checkpoint, run on the same cores in turn, and their actions on the same inputs and noise are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WARM = 3


def official(checkpoint: Path, case: Path, steps: int) -> None:
    """Runs in the JAX environment: writes the answer as a reference case, prints durations as JSON."""
    import flax
    import jax
    import transformers
    from octo.model.octo_module import OctoModule

    t5 = transformers.T5Config(vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12)
    transformers.AutoConfig.from_pretrained = staticmethod(lambda *args, **kwargs: t5)
    config = json.loads((checkpoint / "config.json").read_text())
    module = OctoModule.create(**config["model"])
    (step,) = (entry for entry in checkpoint.iterdir() if entry.is_dir())
    params = flax.serialization.msgpack_restore((step / "default" / "checkpoint").read_bytes())
    example = flax.serialization.msgpack_restore((checkpoint / "example_batch.msgpack").read_bytes())
    observation, task = example["observation"], example["task"]
    mask = observation["timestep_pad_mask"]

    def run(params, observation, task, mask, key):
        outputs = module.apply(
            {"params": params}, observation, task, mask, train=False, method="octo_transformer"
        )
        head = module.bind({"params": params}).heads["action"]
        actions = head.predict_action(outputs, rng=key, train=False, embodiment_action_dim=7)
        return actions, outputs["readout_action"].tokens

    jitted = jax.jit(run)
    durations = []
    for index in range(WARM + steps):
        started = time.perf_counter()
        actions, readout = (
            np.asarray(array) for array in jitted(params, observation, task, mask, jax.random.PRNGKey(index))
        )
        durations.append(time.perf_counter() - started)
    key, draws = jax.random.PRNGKey(WARM + steps - 1), []
    for _ in range(21):
        key, drawn = jax.random.split(key)
        draws.append(np.asarray(jax.random.normal(drawn, (1, mask.shape[1], 28))))
    arrays = {"noise_init": draws[0], "noise_steps": np.stack(draws[1:])}
    for name, group in (("obs", observation), ("task", task)):
        arrays.update({f"{name}/{key}": value for key, value in group.items() if not isinstance(value, dict)})
        arrays.update({f"{name}_pad/{key}": value for key, value in group["pad_mask_dict"].items()})
    arrays.update({f"task/language_instruction/{k}": v for k, v in task["language_instruction"].items()})
    np.savez(case, action_normalized=actions, readout=readout, **arrays)
    print(json.dumps({"durations": durations[WARM:], "jax": jax.__version__}))


def compare(size: str, options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Both in turn; medians of the quietest round, and the parity of their answers."""
    from octo_ros.benchmark.bench import machine
    from octo_ros.benchmark.measure import Setup, measure
    from octo_ros.benchmark.sizes import prepare_size
    from octo_ros.engine import make_backend
    from octo_ros.engine.bundle import read_bundle
    from octo_ros.verify.checks import check_bundle

    prepared = prepare_size(size, folder)
    case = folder / f"{size}.npz"
    command = [
        str(options.python), str(Path(__file__).resolve()), "--worker",
        str(prepared.checkpoint), str(case), str(options.steps),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(options.octo)}
    setups = {
        "stages": Setup("stages", "stages", str(prepared.bundle), threads=options.threads),
        "stages, threads spin": Setup(
            "stages, threads spin", "stages", str(prepared.bundle), threads=options.threads, spinning=True
        ),
        "PyTorch eager": Setup("PyTorch eager", "torch", str(prepared.checkpoint), threads=options.threads),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {"JAX": [], **{name: [] for name in setups}}
    work: dict[str, list[float]] = {name: [] for name in setups}
    for _ in range(options.rounds):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"the official code failed: {done.stderr.strip().splitlines()[-1:]}")
        seconds["JAX"].append(float(np.median(json.loads(done.stdout.splitlines()[-1])["durations"])))
        for name, setup in setups.items():
            got = measure(setup, options.steps)
            seconds[name].append(got.critical.p50)
            work[name].append(got.work.p50)
    manifest = read_bundle(prepared.bundle)
    with make_backend("onnxruntime", prepared.bundle, manifest) as backend:
        checks = [check for check in check_bundle(backend, [case]) if "reference" in check.compared]
    peer = min(seconds["JAX"])
    return {
        "size": size,
        "machine": machine(),
        "jax_s": peer,
        "rows": {
            name: {
                "frame_to_action_s": min(seconds[name]),
                "work_s": min(work[name]),
                "frame_to_action_of_jax": min(seconds[name]) / peer,
                "work_of_jax": min(work[name]) / peer,
            }
            for name in setups
        },
        "parity": {f"{check.compared}: {check.output}": check.error for check in checks},
    }


def main() -> None:
    """Parses, compares each size, prints JSON."""
    if sys.argv[1:2] == ["--worker"]:
        official(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--octo", type=Path, required=True)
    parser.add_argument("--size", nargs="+", default=["small", "base"])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="keep checkpoints and bundles in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for size in options.size:
            print(json.dumps(compare(size, options, options.keep or Path(scratch)), indent=2), flush=True)


if __name__ == "__main__":
    main()
