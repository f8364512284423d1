# ROS 2 Humble on Jetson with JetPack 6 (Jetson Linux 36.4): CUDA 12.6, TensorRT 10.3, Python 3.10, arm64 only.
# Never built by us: see docs/jetson.md.
#
#   docker build -f deploy/humble.Dockerfile -t octo_ros:0.1.0-humble .
#
# By tag, as the digest could not be looked up; whoever builds it can add it: nvcr.io/nvidia/l4t-jetpack:...@sha256:...
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0

ARG UBUNTU_SNAPSHOT=20260807T000000Z
ARG ROS_SNAPSHOT=2026-08-07
ARG DEBIAN_FRONTEND=noninteractive
ENV LANG=C.UTF-8
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# TensorRT's Python bindings are JetPack's; without them the build ends here.
RUN dpkg-query -W -f '${Package} ${Version}\n' python3-libnvinfer | grep '^python3-libnvinfer 10\.3\.'

COPY deploy/pinned_sources.sh deploy/requirements-humble.txt /tmp/
RUN bash /tmp/pinned_sources.sh jammy "$UBUNTU_SNAPSHOT" humble "$ROS_SNAPSHOT"

# Versions are pinned by the snapshots.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
      python3-colcon-common-extensions \
      python3-opencv \
      python3-pip \
      ros-humble-cv-bridge \
      ros-humble-pinocchio \
      ros-humble-rmw-cyclonedds-cpp \
      ros-humble-ros-base \
 && rm -rf /var/lib/apt/lists/*

RUN python3 -m pip install --no-cache-dir --no-deps -r /tmp/requirements-humble.txt

WORKDIR /opt/octo_ros
COPY . src/octo_ros
RUN source /opt/ros/humble/setup.bash && colcon build --packages-select octo_ros && rm -rf build log

ENV OCTO_ROS_SETUP=/opt/ros/humble/setup.bash \
    OCTO_SETUP=/opt/octo_ros/install/setup.bash \
    HOME=/var/lib/octo_ros
RUN install -d -o 1000 -g 1000 "$HOME"
USER 1000:1000
CMD ["/bin/bash", "/opt/octo_ros/src/octo_ros/deploy/run.sh"]
