"""The seed of this run's random tests, printed in pytest's report.

It is the same in every run, so that a change is what turns a test red; OCTO_SEED takes another
one, and `make fuzz` looks further.
"""

from __future__ import annotations

import os

SEED = int(os.environ.get("OCTO_SEED") or 20261124)
