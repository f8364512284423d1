"""Keeps the process from handing memory back that it needs again for the next frame."""

from __future__ import annotations

import ctypes
import gc

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Numbers of glibc's mallopt(3), from malloc.h."""

KEPT = {M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 256 << 20, M_TOP_PAD: 16 << 20}
"""Sizes [byte]; glibc takes no larger one for the first."""


def keep_freed_memory() -> bool:
    """Has malloc keep what is freed; returns whether the C library can.

    A frame of 640x480 is 0.9 MB, copied into new memory by DDS, by the message and by its preparation. glibc
    gets such blocks from the kernel and gives them back, and each of their pages is then a page fault
    at its first touch, which takes longer than the copy.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(number, size) == 1 for number, size in KEPT.items())


def keep_out_of_collection() -> None:
    """Has Python's garbage collector pass over everything that is there now: modules, node, engine.

    What an earlier call had it pass over, it looks at once more.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
