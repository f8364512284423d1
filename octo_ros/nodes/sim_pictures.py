"""Renders and publishes the simulated cell's pictures beside its steps, in a thread of its own.

A software renderer takes longer than a step. MuJoCo lets Python go on meanwhile: joint states do not stall.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from octo_ros.nodes import sim_messages
from octo_ros.sim.cell import CAMERAS, Cell, Snapshot

START_S = 60.0
"""Longest time that a renderer may take to start [s]."""


@dataclass(frozen=True)
class Timing:
    """When pictures come, in steps of the cell.

    Attributes:
        every: from one set to the next, at least 1.
        delay: from what a set shows to the beginning of its rendering.
        wait: after which a set is waited for, less than `every`; None to go on without.
    """

    every: int
    delay: int = 0
    wait: int | None = None


class Pictures:
    """One set of pictures, one of every camera, at a time.

    Args:
        node: that publishes.
        cell: whose cameras they are; its renderers belong to the thread.
        timing: when.
        cameras: which.

    Attributes:
        dropped: snapshots that came while another was rendered.
        shown_ns: stamp of the newest set that is out [ns], -1 before the first.

    Raises:
        ParameterError: there is no way to render here.
    """

    def __init__(self, node: Node, cell: Cell, timing: Timing, cameras: Sequence[str] = CAMERAS) -> None:
        self._node, self._cell, self._timing = node, cell, timing
        self._images = {name: node.create_publisher(Image, f"camera/{name}/image_raw", 2) for name in cameras}
        self._infos = {
            name: node.create_publisher(CameraInfo, f"camera/{name}/camera_info", 2) for name in cameras
        }
        self.dropped, self.shown_ns = 0, -1
        self._taken: deque[tuple[int, Snapshot, int]] = deque()  # steps when due, what it shows, stamp
        self._wait_step: int | None = None
        self._job: tuple[Snapshot, int] | None = None
        self._wanted, self._idle = threading.Event(), threading.Event()
        self._ended = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)
        self._thread.start()
        self._idle.wait(START_S)
        self._raise()

    def step(self, number: int, stamp_ns: int) -> None:
        """Takes, renders and waits for what is due at a step, counted from 0, of that stamp."""
        timing = self._timing
        if number % timing.every == 0:
            self._taken.append((number + timing.delay, self._cell.snapshot(), stamp_ns))
        if self._taken and self._taken[0][0] <= number:
            _, snapshot, taken_ns = self._taken.popleft()
            self._offer(snapshot, taken_ns)
            self._wait_step = None if timing.wait is None else number + timing.wait
        if number == self._wait_step:
            self._idle.wait()
            self._raise()

    def forget(self) -> None:
        """Drops what was taken and is not due yet."""
        self._taken.clear()

    def end(self) -> None:
        """Ends the thread and frees the renderers."""
        self._ended = True
        self._wanted.set()
        self._thread.join()

    def _offer(self, snapshot: Snapshot, stamp_ns: int) -> None:
        """Has a snapshot rendered, unless an earlier one is still being rendered."""
        self._raise()
        if not self._idle.is_set():
            self.dropped += 1
            return
        self._idle.clear()
        self._job = snapshot, stamp_ns
        self._wanted.set()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            cameras = self._cell.cameras
            cameras.views = {name: cameras.views[name] for name in self._images}
            sizes = {name: view.size for name, view in cameras.views.items()}
            self._idle.set()
            while self._wanted.wait() and not self._ended:
                self._wanted.clear()
                snapshot, stamp_ns = self._job
                for name, pixels in cameras.images(snapshot).items():
                    self._images[name].publish(sim_messages.image(pixels, name, stamp_ns))
                    focal = cameras.focal_length(name)
                    info = sim_messages.camera_info(sizes[name], focal, name, stamp_ns)
                    self._infos[name].publish(info)
                self.shown_ns = stamp_ns
                self._idle.set()
        except Exception as error:  # raised again by whoever offers or waits
            self._error = error
            self._idle.set()
        finally:
            self._cell.close()
