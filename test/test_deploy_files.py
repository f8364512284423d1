"""What is in deploy/ can be parsed, is pinned, and names only what there is. Nothing is built here."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
IMAGES = sorted(DEPLOY.glob("*.Dockerfile"))
REQUIREMENTS = sorted(DEPLOY.glob("requirements-*.txt"))
SCRIPTS = {entry.name for entry in metadata.distribution("octo_ros").entry_points}
SOURCE = "/opt/octo_ros/src/octo_ros/"
"""Where the clone lies on a robot and in an image."""


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile and what they are given, continued lines joined."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and line[0] != "#"]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def settings() -> dict[str, str]:
    """octo.env."""
    lines = (DEPLOY / "octo.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and line[0] != "#")


def literal(file: Path, name: str) -> ast.Dict | ast.Tuple:
    """What a module assigns to a name."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return node.value
    raise AssertionError(f"{file} does not assign {name}")


def launch_arguments() -> set[str]:
    file = ROOT / "launch" / "octo.launch.py"
    keys = [*literal(file, "ARGUMENTS").keys, *literal(file, "TOPICS").keys]
    return {key.value for key in keys if key is not None}


def tool(name: str) -> str:
    """A checker, from beside this Python or from the system; skips where there is none."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: object, **more: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30, **more)


@pytest.mark.parametrize("image", IMAGES, ids=names(IMAGES))
def test_an_image_is_pinned_and_copies_only_what_there_is(image):
    found = instructions(image)
    assert found[0][0] == "FROM" and [name for name, _ in found].count("FROM") == 1
    assert re.fullmatch(r"[\w./-]+:[\w.-]*\d+\.\d+\.\d+[\w.-]*", found[0][1]), found[0][1]
    installed = copied = False
    for name, given in found:
        if name == "COPY":
            *sources, _ = given.split()
            copied |= "deploy/pinned_sources.sh" in sources
            assert all((ROOT / source).exists() for source in sources), sources
        if name == "RUN" and given.startswith("bash /tmp/pinned_sources.sh"):
            assert copied and not installed
            installed = True
        if "apt-get install" in given:
            assert installed, "apt before its sources are pinned"
        if "pip install" in given:
            assert "--no-deps" in given and "-r /tmp/requirements-" in given
            (file,) = re.findall(r"/tmp/(requirements-[\w.]+)", given)
            assert DEPLOY / file in REQUIREMENTS
    assert installed
    arguments = dict(given.split("=", 1) for name, given in found if name == "ARG")
    assert re.fullmatch(r"20\d{6}T\d{6}Z", arguments["UBUNTU_SNAPSHOT"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", arguments["ROS_SNAPSHOT"])


@pytest.mark.parametrize("image", IMAGES, ids=names(IMAGES))
def test_an_image_runs_the_script_of_the_clone_as_an_ordinary_user(image):
    found = dict(instructions(image))  # of each instruction the last
    assert found["USER"] == "1000:1000"
    *_, script = json.loads(found["CMD"])
    assert (ROOT / script.removeprefix(SOURCE)).is_file() and script.startswith(SOURCE)
    text = image.read_text("utf-8")
    (distro,) = set(re.findall(r"/opt/ros/(\w+)", text))
    assert set(re.findall(r"\bros-([a-z]+)-", text)) == {distro} == {image.stem}


NOT_IN_IMAGES = ("lerobot", "tensorrt-rtx")
"""Extras."""


@pytest.mark.parametrize("file", REQUIREMENTS, ids=names(REQUIREMENTS))
def test_every_requirement_is_one_version_that_the_package_takes(file):
    lines = [line for line in file.read_text("utf-8").splitlines() if line and line[0] not in "#-"]
    pinned = {}
    for requirement in map(Requirement, lines):
        ((operator, version),) = [(one.operator, one.version) for one in requirement.specifier]
        assert operator == "==" and "*" not in version, requirement
        pinned[requirement.name.removesuffix("-gpu")] = version
    assert {"onnxruntime", "tokenizers", "cuda-bindings", "onnx"} <= set(pinned)
    for wanted in map(Requirement, metadata.requires("octo_ros")):
        if wanted.name in pinned and not any(extra in str(wanted.marker) for extra in NOT_IN_IMAGES):
            assert wanted.specifier.contains(pinned[wanted.name]), f"{wanted}: {pinned[wanted.name]}"


def test_only_what_the_package_is_built_from_goes_into_an_image():
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines and all((ROOT / name).exists() for name in kept)
    shared = re.search(r"for folder in \((.*?)\)", (ROOT / "setup.py").read_text("utf-8"))[1]
    assert {*ast.literal_eval(f"({shared},)"), "octo_ros", "resource", "setup.py", "deploy"} <= kept


def test_compose_names_files_that_exist_and_pinned_images():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    version = ElementTree.parse(ROOT / "package.xml").findtext("version")
    assert set(compose["services"]) == {"x86", "jetpack6", "jetpack7"}
    for name, service in compose["services"].items():
        assert service["profiles"] == [name]
        assert service["image"].startswith(f"octo_ros:{version}-")
        context = (DEPLOY / service["build"]["context"]).resolve()
        assert context == ROOT and context / service["build"]["dockerfile"] in IMAGES
        assert (DEPLOY / service["env_file"]).is_file()
        assert service["restart"] == "no" and service["runtime"] == "nvidia"
        assert service["ulimits"]["rtprio"] >= int(settings()["OCTO_FILTER_PRIORITY"])


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(DEPLOY / "octo.service", encoding="utf-8")
    return parser


def test_the_unit_lets_the_filter_alone_be_raised_and_restarts_nothing():
    parser = unit()
    assert parser.sections() == ["Unit", "Service", "Install"]
    service = parser["Service"]
    *_, script = service["ExecStart"].split()
    assert script.startswith(SOURCE) and (ROOT / script.removeprefix(SOURCE)).is_file()
    assert int(service["LimitRTPRIO"]) >= int(settings()["OCTO_FILTER_PRIORITY"])
    expected = {"CPUSchedulingPolicy": "other", "Restart": "no", "KillSignal": "SIGINT", "KillMode": "mixed"}
    assert {key: service[key] for key in expected} == expected
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    assert "OCTO_INSTRUCTION" not in (DEPLOY / "octo.env").read_text("utf-8")


def test_systemd_takes_the_unit():
    done = run(tool("systemd-analyze"), "verify", "--man=no", DEPLOY / "octo.service")
    assert done.returncode == 0 and "octo.service" not in done.stderr, done.stderr


def test_hadolint_finds_nothing():
    done = run(tool("hadolint"), *IMAGES)
    assert done.returncode == 0, done.stdout


def test_shellcheck_finds_nothing():
    done = run(tool("shellcheck"), *DEPLOY.glob("*.sh"))
    assert done.returncode == 0, done.stdout


def test_the_script_names_arguments_and_nodes_that_exist():
    text = (DEPLOY / "run.sh").read_text("utf-8")
    named = re.findall(r"^for name in ([\w\s\\]+); do$", text, re.MULTILINE)
    handed = set(re.findall(r"\w+", named[-1]))
    assert handed <= launch_arguments()
    assert (ROOT / "launch" / re.search(r"octo_ros (\S+\.launch\.py)", text)[1]).is_file()
    pattern = re.search(r"--launch-prefix-filter (\S+)", text)[1]
    assert [name for name in sorted(SCRIPTS) if re.match(pattern, name)] == ["safety_filter_node"]


def test_the_settings_are_those_that_something_reads():
    file, values = ROOT / "launch" / "octo.launch.py", settings()
    script = (DEPLOY / "run.sh").read_text("utf-8")
    handed = {f"OCTO_{name.upper()}" for name in launch_arguments()}
    assert set(values) <= handed | {"OCTO_FILTER_PRIORITY", "OCTO_ROS_ENGINES", "ROS_LOG_DIR"}
    assert all(name.removeprefix("OCTO_").lower() in script for name in set(values) & handed)
    assert values["OCTO_ROBOT"] in [one.value for one in literal(file, "ROBOTS").elts]
    assert values["OCTO_COMMAND_MODE"] in [key.value for key in literal(file, "COMMANDS").keys]
    assert 1 <= int(values["OCTO_FILTER_PRIORITY"]) <= 99


@pytest.mark.parametrize("file", [*DEPLOY.iterdir(), ROOT / "docs" / "jetson.md"], ids=lambda path: path.name)
def test_files_that_are_named_exist(file):
    named = re.findall(r"(?<![\w./-])(?:deploy|docs|config|launch|bench)/[\w./-]*\w", file.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["fastdds_images.xml", "cyclonedds_images.xml"])
def test_profiles_of_dds_are_xml(name):
    ElementTree.parse(ROOT / "config" / name)


def test_kernel_settings_are_keys_with_numbers():
    lines = (DEPLOY / "sysctl.conf").read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"#.*|net\.[\w.]+=\d+", line) for line in lines)


@pytest.fixture
def robot(tmp_path):
    """An environment for run.sh with a `chrt` and a `ros2` that only write down what they are given."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in {
        "ros2": f'printf "%s\\n" "$SETUP" "$@" > {tmp_path}/launched',
        "chrt": 'test "$2" -le 50 && exec "${@:3}"',
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    for name in ("ros.bash", "octo.bash"):
        (tmp_path / name).write_text(f'export SETUP="$SETUP {name}"\n', encoding="utf-8")
    return {
        "PATH": f"{programs}:/usr/bin:/bin",
        "OCTO_ROS_SETUP": str(tmp_path / "ros.bash"),
        "OCTO_SETUP": str(tmp_path / "octo.bash"),
        "OCTO_FILTER_PRIORITY": "50",
        "OCTO_BUNDLE": "/bundles/my octo",
    }


def test_the_script_launches_with_what_is_set_and_the_filter_raised(robot, tmp_path):
    robot |= {"OCTO_CAMERAS": "[primary, wrist]", "OCTO_DATASET": ""}
    done = run("bash", DEPLOY / "run.sh", "instruction:=put it down", env=robot)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "launched").read_text("utf-8").splitlines() == [
        " ros.bash octo.bash", "launch", "--launch-prefix", "chrt --fifo 50", "--launch-prefix-filter",
        "safety_filter_node", "octo_ros", "octo.launch.py", "bundle:=/bundles/my octo",
        "cameras:=[primary, wrist]", "instruction:=put it down",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"OCTO_FILTER_PRIORITY": "99"}, "may not use SCHED_FIFO at priority 99"),
        ({"OCTO_FILTER_PRIORITY": ""}, "OCTO_FILTER_PRIORITY is not set"),
        ({"OCTO_BUNDLE": ""}, "OCTO_BUNDLE is not set"),
    ],
)
def test_the_script_launches_nothing_that_is_half_set_up(robot, tmp_path, change, message):
    done = run("bash", DEPLOY / "run.sh", env=robot | change)
    assert done.returncode == 1 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "launched").exists()
