"""Messages of common types for a bag, from the definitions of the rosbags library, so without ROS."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from octo_ros.bags.reader import TYPESTORE
from octo_ros.bags.topics import RAW_IMAGE
from octo_ros.types import NANOSECONDS

TEXT = "std_msgs/msg/String"
NUMBERS = "std_msgs/msg/Float64MultiArray"


def new(kind: str, *fields: Any) -> Any:
    """A message of a type, from all its fields in order."""
    return TYPESTORE.types[kind](*fields)


def header(stamp_ns: int, frame: str) -> Any:
    """std_msgs/Header."""
    time = new("builtin_interfaces/msg/Time", stamp_ns // NANOSECONDS, stamp_ns % NANOSECONDS)
    return new("std_msgs/msg/Header", time, frame)


def restamped(message: Any, stamp_ns: int) -> Any:
    """The same message with another stamp, where it has one."""
    if not hasattr(message, "header"):
        return message
    return dataclasses.replace(message, header=header(stamp_ns, message.header.frame_id))


def text(words: str) -> Any:
    """std_msgs/String."""
    return new(TEXT, words)


def numbers(values: np.ndarray) -> Any:
    """std_msgs/Float64MultiArray of values (n,)."""
    return new(NUMBERS, new("std_msgs/msg/MultiArrayLayout", [], 0), np.array(values, dtype=np.float64))


def picture(pixels: np.ndarray, head: Any) -> Any:
    """sensor_msgs/Image of (H, W, 3) uint8 RGB, under a header."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1)
    return new(RAW_IMAGE, head, height, width, "rgb8", 0, 3 * width, data)
