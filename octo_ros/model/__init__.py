"""Octo in PyTorch, built from an official checkpoint's own configuration. No ROS, no JAX."""
