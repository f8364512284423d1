"""A camera's message on its way to the network."""

from __future__ import annotations

from sensor_msgs.msg import CompressedImage, Image

from octo_ros.image_messages import to_rgb
from octo_ros.policy.policy import Policy
from octo_ros.policy.preparation import PreparedFrame


class CameraFrame:
    """Converted and prepared when it is first asked for, and only once. For one thread."""

    def __init__(self, camera: str, message: Image | CompressedImage) -> None:
        self._camera, self._message = camera, message
        self._prepared: PreparedFrame | None = None

    def prepared(self, policy: Policy) -> PreparedFrame:
        """The frame as the network takes it.

        Raises:
            ImageError: a message that cannot be read.
            ObservationError: a frame that does not fit.
        """
        if self._prepared is None:
            self._prepared = policy.prepare_frame(self._camera, to_rgb(self._message))
        return self._prepared
