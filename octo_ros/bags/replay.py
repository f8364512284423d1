"""Replays a rosbag2 through the policy and the safety filter, by its stamps and never by the wall clock.

The same bag, bundle, robot and options give the same actions, decisions and output bag, byte for
byte. What a wall clock measured (the latency) is only in the summary and the report.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import octo_ros
from octo_ros.bags.arm import choose_arm
from octo_ros.bags.feed import Feed
from octo_ros.bags.log import ReplayLog
from octo_ros.bags.loop import COMMAND_RATE_HZ, ReplayLoop
from octo_ros.bags.output import Output, write_actions
from octo_ros.bags.reader import Bag
from octo_ros.bags.recorded import Comparison, RecordedActions
from octo_ros.bags.report import write_report
from octo_ros.bags.staging import SUMMARY, staged
from octo_ros.bags.summary import ReplaySummary, Setting, counted, summarize
from octo_ros.bags.topics import TopicMap, resolve_topics
from octo_ros.engine.bundle import read_bundle
from octo_ros.engine.manifest import Manifest
from octo_ros.errors import BagError, ParameterError
from octo_ros.policy.frames import FrameSync
from octo_ros.policy.normalization import choose_dataset
from octo_ros.policy.options import ActOptions
from octo_ros.resources import robot_urdf
from octo_ros.safety.filter import SafetyFilter
from octo_ros.safety.options import FilterOptions
from octo_ros.safety.robot import Robot

NOT_FOLLOWED = ("tracking error", "joint states unchanged in motion")
"""Kinds of limit that an arm meets which does not follow the commands."""

ALIKE = 3
"""Most warnings of one kind that are repeated word by word."""


def replay(
    bag: str | Path,
    bundle: str | Path,
    robot: str | Path,
    out: str | Path,
    *,
    topics: Mapping[str, str] | None = None,
    rate_hz: float = 10.0,
    dataset: str | None = None,
    instruction: str | None = None,
    seed: int | None = 0,
    overwrite: bool = False,
    reset_on_instruction: bool = True,
    joints: str = "auto",
    options: ActOptions | None = None,
    filter_options: FilterOptions | None = None,
    check_collisions: bool = True,
    backend: str = "onnxruntime",
    precision: str = "",
    engine: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReplaySummary:
    """Runs a bag through policy and filter; writes two tables, a bag, a summary and a report to `out`.

    The files: actions.csv, decisions.csv, bag/, summary.json, report.html.

    Args:
        bag: rosbag2 directory, or an .mcap or .db3 file.
        bundle: engine bundle. One that cannot read words runs with them masked, and a warning.
        robot: "fr3", "panda", "ur5e", or the path of a URDF file.
        out: directory to write; it appears when everything in it is complete.
        topics: camera or input (`octo_ros.bags.topics.INPUTS`) to topic, where it is not the default.
        rate_hz: of the policy [Hz].
        dataset: whose statistics scale the actions; None takes `options.dataset`, or the bundle's default.
        instruction: to use in place of the bag's words; the bag's still mark where episodes begin.
        seed: of the noise; None draws new noise, and the replay cannot be repeated.
        overwrite: replaces an earlier replay in `out`.
        reset_on_instruction: whether an instruction starts history, filter and arm anew, as an operator
            would; if not, a filter that has stopped stays so.
        joints: "bag", "follower" (an ideal arm that follows the commands, at home when an episode
            begins), or "auto": the bag's where it has this robot's joints.
        options: of the policy; seed and mask_language in it are replaced.
        filter_options: of the safety filter.
        check_collisions: whether the filter keeps distances between bodies, as the node's parameter.
        backend, precision, engine: what runs the network, as `octo_ros.load_policy` takes them.
        progress: called with the number of messages done and of all.

    Raises:
        BagError: a bag that is missing or corrupt, lacks a topic, has no frame or no task.
        OctoRosError: whatever else does not fit: bundle, robot, data set, options, `out`.
    """
    if not 0.0 < rate_hz <= 1000.0:
        raise ParameterError(f"rate_hz: expected a rate in (0, 1000] Hz, got {rate_hz}")
    filter_options = filter_options or FilterOptions()
    model = Robot.from_file(robot_urdf(str(robot)), collision=check_collisions)
    manifest = read_bundle(bundle)
    options = _act_options(options, manifest, dataset, seed)
    log = ReplayLog(model.joint_names)
    with staged(Path(out), overwrite) as work, Bag(bag) as opened:
        topic_map = resolve_topics(opened, manifest, topics or {})
        _check_task(opened, topic_map, manifest, instruction)
        mapped = "joint_states" in (topics or {})
        choice = choose_arm(opened, topic_map.inputs.get("joint_states"), model, joints, mapped)
        for warning in (*_bundle_warnings(manifest, options, topic_map), choice.warning):
            if warning:
                log.warn(warning)
        with (
            octo_ros.load_policy(bundle, backend, options, precision=precision, engine=engine) as policy,
            Output(work, model, filter_options.data_rate_hz, 1.0 / COMMAND_RATE_HZ) as output,
            _warnings_into(log, but_not="octo_ros.policy.policy" if options.mask_language else None),
        ):
            policy.warm_up()
            ran_on = ", ".join(filter(None, (backend, policy.backend_details.get("precision"))))
            loop = ReplayLoop(
                policy,
                lambda: SafetyFilter(model, filter_options),
                choice.arm,
                FrameSync(tuple(topic_map.cameras)),
                reset_on_instruction,
                log,
                output,
            )
            feed = Feed(opened, topic_map, loop, choice.arm, log, instruction, manifest.goal_camera())
            feed.run(rate_hz, progress)
        _check_outcome(opened, log, choice.name)
        comparison = _compare(feed.recorded, log, filter_options.data_rate_hz)
        setting = Setting(
            bag=str(bag),
            bundle=str(bundle),
            out=str(out),
            checkpoint=str(manifest.checkpoint["name"]),
            notice=manifest.notice,
            backend=ran_on,
            robot=str(robot),
            joints=choice.name,
            dataset=choose_dataset(manifest, options.dataset),
            instruction=instruction,
            seed=seed,
            rate_hz=rate_hz,
            data_rate_hz=filter_options.data_rate_hz,
            reset=reset_on_instruction,
            topics={**topic_map.cameras, **topic_map.inputs},
            masked=topic_map.masked,
        )
        summary = summarize(setting, log, comparison)
        write_actions(work, log, comparison)
        (work / SUMMARY).write_text(summary.to_json(), encoding="utf-8")
        write_report(work, summary, log, comparison)
    return summary


def _act_options(
    options: ActOptions | None, manifest: Manifest, dataset: str | None, seed: int | None
) -> ActOptions:
    """The options with the replay's arguments; StatisticsError where the bundle lacks the data set."""
    options = options or ActOptions()
    readable = manifest.language is not None and manifest.language.tokenizer_file is not None
    named = choose_dataset(manifest, dataset or options.dataset)
    return dataclasses.replace(options, dataset=named, seed=seed, mask_language=not readable)


def _check_task(bag: Bag, topics: TopicMap, manifest: Manifest, instruction: str | None) -> None:
    if instruction is not None and not instruction.strip():
        raise ParameterError("instruction: expected words, got blanks")
    goal = "goal_image" in topics.inputs and manifest.goal_camera() is not None
    if instruction is None and "instruction" not in topics.inputs and not goal:
        raise BagError(
            f"{bag.path}: nothing says what to do: no message on /octo/instruction or /octo/goal_image; "
            "pass an instruction (--instruction TEXT), or map a topic (--topic instruction=/topic or "
            "goal_image=/topic)"
        )


def _bundle_warnings(manifest: Manifest, options: ActOptions, topics: TopicMap) -> Iterator[str]:
    if options.mask_language:
        yield (
            "THE BUNDLE CANNOT READ INSTRUCTIONS: it has no tokenizer, so every instruction was masked and "
            "the actions do not depend on the words; export again with `octo_ros export --tokenizer FILE`"
            if manifest.language is not None
            else "THIS NETWORK TAKES NO WORDS: every instruction was ignored"
        )
    for camera in topics.masked:
        yield f"camera {camera}: not in the bag, so it was masked; map it with {camera}=/topic if it is there"
    if "goal_image" in topics.inputs and manifest.goal_camera() is None:
        yield f"{topics.inputs['goal_image']}: this network takes no goal image; it was ignored"
    if manifest.proprio_size is not None:
        yield "the network takes proprioception, which neither replay nor node supplies; it was masked"


def _check_outcome(bag: Bag, log: ReplayLog, joints: str) -> None:
    if not any(log.frames.values()):
        raise BagError(f"{bag.path}: expected frames, got none that can be read: {log.unreadable[0].reason}")
    if log.unreadable:
        first = log.unreadable[0]
        log.warn(f"{len(log.unreadable)} messages could not be used; the first: {first.reason}")
    if log.failures:
        log.warn(f"the policy refused its input {len(log.failures)} times; the first: {log.failures[0][1]}")
    if joints == "bag" and any(kind in verdict.kinds for verdict in log.verdicts for kind in NOT_FOLLOWED):
        log.warn(
            "the recorded arm went another way than the commands, so the filter stopped it; "
            "joints='follower' (--joints follower) replays with an ideal arm that follows them"
        )
    if not log.steps:
        refusals: dict[str, int] = {}
        for _, refusal in log.frame_refusals:
            refusals[f"{refusal.camera} {refusal.reason}"] = (
                refusals.get(f"{refusal.camera} {refusal.reason}", 0) + 1
            )
        log.warn(f"NO ACTION WAS MADE: {len(log.episodes)} tasks; frames refused: {counted(refusals)}")


def _compare(recorded: RecordedActions, log: ReplayLog, data_rate_hz: float) -> Comparison | None:
    """Each action beside the recorded one within half a step, None where the bag has none."""
    if not len(recorded):
        return None
    predicted = np.array([step.physical for step in log.steps]).reshape(-1, 7)
    return recorded.compare([step.stamp_ns for step in log.steps], predicted, 0.5 / data_rate_hz)


@contextmanager
def _warnings_into(log: ReplayLog, but_not: str | None) -> Iterator[None]:
    """What the package logs as a warning meanwhile becomes a warning of the replay; a few of each kind.

    Args: but_not, a logger that is left out: the policy's, which repeats with each instruction that
    it masks what `_bundle_warnings` says once.
    """
    by_kind: dict[str, dict[str, None]] = {}

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name != but_not:
                by_kind.setdefault(str(record.msg), {})[record.getMessage()] = None

    logger, handler = logging.getLogger("octo_ros"), Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    for messages in map(list, by_kind.values()):
        for message in messages[:ALIKE]:
            log.warn(message)
        if len(messages) > ALIKE:
            log.warn(f"{len(messages) - ALIKE} more warnings like the last one")
