"""Whether a bundle still answers as the official code did, and its graphs as one another."""

from __future__ import annotations

from octo_ros.verify.checks import TOLERANCES, Check, check_bundle

__all__ = ["TOLERANCES", "Check", "check_bundle"]
