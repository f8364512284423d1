# ROS 2 Jazzy, CUDA 13, TensorRT 10.16: for x86-64, and for Jetson with JetPack 7.2 or newer, which takes the same
# arm64 packages as a server (SBSA). Never built by us: see docs/jetson.md.
#
#   docker build -f deploy/jazzy.Dockerfile -t octo_ros:0.1.0-jazzy .
#
# By tag, as the digest could not be looked up; whoever builds it can add it: nvidia/cuda:...@sha256:...
FROM nvidia/cuda:13.2.1-cudnn-runtime-ubuntu24.04

ARG UBUNTU_SNAPSHOT=20260911T000000Z
ARG ROS_SNAPSHOT=2026-09-11
ARG DEBIAN_FRONTEND=noninteractive
ENV LANG=C.UTF-8
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

COPY deploy/pinned_sources.sh deploy/requirements-jazzy.txt /tmp/
RUN bash /tmp/pinned_sources.sh noble "$UBUNTU_SNAPSHOT" jazzy "$ROS_SNAPSHOT"

# Versions are pinned by the snapshots.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
      python3-colcon-common-extensions \
      python3-opencv \
      python3-pip \
      python3-transforms3d \
      ros-jazzy-cv-bridge \
      ros-jazzy-pinocchio \
      ros-jazzy-rmw-cyclonedds-cpp \
      ros-jazzy-ros-base \
 && rm -rf /var/lib/apt/lists/*

RUN python3 -m pip install --no-cache-dir --no-deps --break-system-packages -r /tmp/requirements-jazzy.txt \
 && echo /usr/local/lib/python3.12/dist-packages/tensorrt_libs > /etc/ld.so.conf.d/tensorrt.conf \
 && ldconfig

WORKDIR /opt/octo_ros
COPY . src/octo_ros
RUN source /opt/ros/jazzy/setup.bash && colcon build --packages-select octo_ros && rm -rf build log

ENV OCTO_ROS_SETUP=/opt/ros/jazzy/setup.bash \
    OCTO_SETUP=/opt/octo_ros/install/setup.bash \
    HOME=/var/lib/octo_ros
RUN install -d -o 1000 -g 1000 "$HOME"
USER 1000:1000
CMD ["/bin/bash", "/opt/octo_ros/src/octo_ros/deploy/run.sh"]
