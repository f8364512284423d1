#!/bin/bash
# Points apt at dated snapshots of Ubuntu and ROS 2 and at nothing else, so that a later build installs the same
# versions: pinned_sources.sh CODENAME UBUNTU_SNAPSHOT ROS_DISTRO ROS_SNAPSHOT
set -euo pipefail
codename=$1 ubuntu=$2 distro=$3 ros=$4

# "ROS Snapshot builder"; not the key of packages.ros.org.
key=4B63CF8FDE49746E98FA01DDAD19BAB3CBF125EA
keyring=/usr/share/keyrings/ros-snapshots.gpg

rm -f /etc/apt/sources.list.d/*
for suite in "$codename" "$codename-updates"; do
  echo "deb [check-valid-until=no signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg]" \
    "http://snapshot.ubuntu.com/ubuntu/$ubuntu $suite main universe"
done > /etc/apt/sources.list

apt-get update
apt-get install -y --no-install-recommends ca-certificates dirmngr gnupg
GNUPGHOME=$(mktemp -d)
export GNUPGHOME
gpg --batch --keyserver hkp://keyserver.ubuntu.com:80 --recv-keys "$key"
gpg --batch --export "$key" > "$keyring"
gpgconf --kill all
rm -rf "$GNUPGHOME"

echo "deb [check-valid-until=no signed-by=$keyring] http://snapshots.ros.org/$distro/$ros/ubuntu $codename main" \
  > /etc/apt/sources.list.d/ros2.list
rm -rf /var/lib/apt/lists/*
