"""The seed of this run's random tests: OCTO_SEED, or another one each time. Printed in pytest's report."""

from __future__ import annotations

import os

SEED = int(os.environ.get("OCTO_SEED") or int.from_bytes(os.urandom(4), "big"))
