"""`octo_ros verify`: errors against reference cases, and of the stages against the whole graph."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from octo_ros.engine import ON_CPU
from octo_ros.engine.backend import Backend
from octo_ros.errors import BundleError, ParameterError
from octo_ros.verbs.engine_options import add_backend, add_recording, engine, recording
from octo_ros.verify.checks import TOLERANCES, Check


def add(verbs: Any) -> None:
    """Adds the verb."""
    parser = verbs.add_parser(
        "verify", help="compare a bundle with reference cases, and its graphs with one another"
    )
    parser.add_argument("bundle", type=Path, help="engine bundle")
    parser.add_argument(
        "cases", type=Path, nargs="*", help="npz files of cases: inputs and the official code's answers"
    )
    add_backend(parser)
    add_recording(parser, "--frames-of", "measure the error of a GPU's actions with")
    parser.add_argument(
        "--tolerance", action="append", default=[], metavar="OUTPUT=ERROR",
        help="largest absolute error allowed of readout, actions, task_tokens or language_tokens "
        "(default 1e-4, of actions 2e-3); repeatable",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    parser.set_defaults(verb=run, needs="install octo_ros with its extra 'export'")


def run(options: argparse.Namespace) -> int:
    """Exit status 0, or 1 where an error is beyond its tolerance.

    On the CPU tensors are compared. On a GPU the actions are, in metres and degrees against float32 on the
    CPU, the frames that the engine prepares, and the tensors as well where the engine is float32.
    """
    from octo_ros.engine import make_backend
    from octo_ros.engine.bundle import read_bundle
    from octo_ros.engine.graphs import check_graphs
    from octo_ros.verify.checks import check_bundle

    tolerances = dict(_tolerance(entry) for entry in options.tolerance)
    manifest = read_bundle(options.bundle)
    check_graphs(manifest, str(options.bundle))
    with closing(make_backend(options.backend, options.bundle, manifest, **engine(options))) as backend:
        body: dict[str, Any] = {"bundle": str(options.bundle), "backend": backend.name}
        beyond: list[str] = []
        if backend.name != ON_CPU:
            judged, told, beyond = _judged(options, backend)
            body |= judged
        if body["backend"] == ON_CPU or backend.details()["precision"] == "fp32":
            checks = list(check_bundle(backend, options.cases, tolerances))
        elif options.cases or tolerances:
            raise ParameterError(
                "cases and --tolerance are for float32; lower precisions are judged by actions"
            )
        else:
            checks = []
    failed = sum(not check.passed for check in checks) + len(beyond)
    if options.json:
        body |= {"failed": failed, "checks": [{**asdict(check), "passed": check.passed} for check in checks]}
        print(json.dumps(body, indent=2))
        return 1 if failed else 0
    if "action_error" in body:
        print(told)
        print("\n".join(f"FAILED: {reason}" for reason in beyond) or "within its limits")
    if checks:
        print(table(checks))
        print(f"{sum(check.passed for check in checks)} passed, {failed} failed")
    return 1 if failed else 0


def _judged(options: argparse.Namespace, backend: Backend) -> tuple[dict[str, Any], str, list[str]]:
    """Of a GPU's actions and frames: the numbers, in words, and what is beyond the usual limits."""
    from octo_ros.gpu.acceptance import Limits
    from octo_ros.gpu.frames import frame_errors
    from octo_ros.gpu.judge import Judge

    judge = Judge.of(options.bundle, backend.manifest, recording(options))
    error, apart = judge.measure(backend), frame_errors(backend, backend.frames())
    details = backend.details()
    told = [f"{name}: {value}" for name, value in details.items()]
    told += [f"{camera}'s frames against the CPU's: {one}" for camera, one in apart.items()]
    told.append(f"action error against float32 on the CPU, {judge.steps.source}: {error}")
    beyond = []
    for check in (partial(error.check, Limits()), *(partial(one.check, name) for name, one in apart.items())):
        try:
            check()
        except BundleError as failure:
            beyond.append(str(failure))
    numbers = {
        "details": details,
        "action_error": error.to_dict(),
        "frame_error": {camera: one.to_dict() for camera, one in apart.items()},
    }
    return numbers, "\n".join(told), beyond


def table(checks: Sequence[Check]) -> str:
    """The checks for people, a line each."""
    names = max([4, *(len(check.case) for check in checks)])
    compared = max([8, *(len(check.compared) for check in checks)])
    lines = [f"{'case':{names}}  {'compared':{compared}}  {'output':15}  {'error':>8}  {'allowed':>8}"]
    for check in checks:
        mark = "" if check.passed else "  FAILED"
        lines.append(
            f"{check.case:{names}}  {check.compared:{compared}}  {check.output:15}  {check.error:8.1e}  "
            f"{check.tolerance:8.1e}{mark}"
        )
    return "\n".join(lines)


def _tolerance(entry: str) -> tuple[str, float]:
    name, separator, value = entry.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if name not in TOLERANCES or not separator or not number >= 0:
        known = ", ".join(TOLERANCES)
        raise ParameterError(
            f"--tolerance: expected OUTPUT=ERROR, OUTPUT one of {known}, such as actions=2e-3, got {entry!r}"
        )
    return name, number
