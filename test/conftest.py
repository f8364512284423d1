"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from run_seed import SEED

ROOT = Path(__file__).resolve().parent.parent


PROCESSES = ("test_cli.py", "test_demo_scene.py", "test_launch_", "test_node_", "test_shipped_policy.py")
"""Files whose tests run real nodes, and heed the time: they run alone, after the others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests that run real nodes."""
    for item in items:
        if item.path.name.startswith(PROCESSES):
            item.add_marker("processes")


def pytest_report_header() -> str:
    """Shown before the tests."""
    return f"random tests: OCTO_SEED={SEED}"


def pytest_terminal_summary(terminalreporter) -> None:
    """Shown after the tests where one failed, since a quiet run shows no header."""
    if terminalreporter.stats.get("failed"):
        terminalreporter.write_line(f"random tests: repeat these with OCTO_SEED={SEED}")


def pytest_runtest_setup(item) -> None:
    """Skips what needs a GPU where there is none, with what is missing."""
    if item.get_closest_marker("gpu") is None:
        return
    from octo_ros.errors import ParameterError
    from octo_ros.gpu.cuda import Cuda
    from octo_ros.gpu.library import import_tensorrt

    try:
        import_tensorrt()
        Cuda()
    except ParameterError as error:
        pytest.skip(f"no GPU: {error}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference checkpoints and bags that lies beside the project, where it is present."""
    directory = ROOT.parent / "shared"
    if not directory.is_dir():
        pytest.skip(f"reference data not found at {directory}")
    return directory


@pytest.fixture(scope="session")
def reference_bundles(tmp_path_factory):
    """The official references as bundles, each exported once however many tests ask for it."""
    from reference_bundles import ReferenceBundles

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all workers
    (folder / "references").mkdir(exist_ok=True)
    return ReferenceBundles(folder / "references")


@pytest.fixture(scope="session")
def tiny_export(reference_bundles):
    """A tiny checkpoint with random weights and its bundle, exported once; tests only read them."""
    return reference_bundles.tiny()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A tiny bundle without a tokenizer."""
    from small_bundle import write_bundle

    directory = tmp_path_factory.mktemp("bundle") / "small"
    write_bundle(directory)
    return directory


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    """Where node processes leave their output."""
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def cell():
    """A ROS node in a DDS domain of its own: what a robot cell gives and asks of the nodes."""
    from node_cell import open_cell

    with open_cell() as cell:
        yield cell


@pytest.fixture(scope="module")
def filter_cell(cell, bundle, logs):
    """The safety filter's process, active, and a simulated arm; shared, so a test begins with `safety`."""
    from safety_node_cell import running

    with running(cell, bundle, logs) as safety:
        yield safety


@pytest.fixture
def safety(filter_cell):
    """The same in READY, with fresh joint states and nothing received yet."""
    return filter_cell.ready()
