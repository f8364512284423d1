"""The `octo_ros` command; its verbs are in `octo_ros.verbs`."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence

from octo_ros.errors import OctoRosError
from octo_ros.verbs import (
    bench,
    build,
    convert,
    demo,
    evaluate,
    export,
    quantize,
    record,
    replay,
    train,
    verify,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit status: 0, or 1 with one line on stderr for a user's mistake."""
    options = _parser().parse_args(arguments)
    try:
        return options.verb(options)
    except OctoRosError as error:
        print(f"octo_ros: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "octo_ros":
            raise
        print(f"octo_ros: this verb needs the Python package {error.name}: {options.needs}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("octo_ros: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="octo_ros", description="The Octo robot policy under ROS 2.")
    whole = functools.partial(argparse.ArgumentParser, allow_abbrev=False)  # --frames is not --frames-of
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=whole)
    for verb in (export, build, verify, bench, quantize, replay, demo, record, convert, train, evaluate):
        verb.add(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
