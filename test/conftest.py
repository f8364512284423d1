"""Fixtures that every test file may use."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference checkpoints and bags that lies beside the project, where it is present."""
    directory = ROOT.parent / "shared"
    if not directory.is_dir():
        pytest.skip(f"reference data not found at {directory}")
    return directory
