"""Qualities of service that more than one node uses."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""The newest message, kept for whoever comes later."""

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""The newest message, heard from any publisher, whatever it offers."""

RELIABLE = QoSProfile(depth=1)


def quiet() -> SubscriptionEventCallbacks:
    """For one of several subscriptions that differ in QoS: no warning where another one matches."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)
