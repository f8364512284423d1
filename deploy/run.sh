#!/bin/bash
# Runs octo.launch.py with the safety filter, and only that, under SCHED_FIFO. Used by octo.service and the images.
#
# From the environment: OCTO_ROS_SETUP and OCTO_SETUP (setup.bash of ROS and of the workspace), OCTO_FILTER_PRIORITY
# (1 to 99), and OCTO_<ARGUMENT> for the launch arguments below; those that are unset keep the launch file's default.
# What is given on the command line (name:=value) is handed on.
set -eo pipefail # no -u: ROS's setup.bash reads variables that are not set

for needed in OCTO_ROS_SETUP OCTO_SETUP OCTO_FILTER_PRIORITY OCTO_BUNDLE; do
  if [[ -z "${!needed}" ]]; then
    echo "octo_ros: $needed is not set; see deploy/octo.env" >&2
    exit 1
  fi
done
if ! chrt --fifo "$OCTO_FILTER_PRIORITY" true; then
  echo "octo_ros: this process may not use SCHED_FIFO at priority $OCTO_FILTER_PRIORITY, which the safety filter" \
    "needs; see 'Real-time priority' in docs/jetson.md" >&2
  exit 1
fi

# shellcheck disable=SC1090
source "$OCTO_ROS_SETUP"
# shellcheck disable=SC1090
source "$OCTO_SETUP"

arguments=()
for name in robot bundle dataset backend precision engine cameras command_mode command_topic primary wrist \
  joint_states overlay; do
  variable="OCTO_${name^^}"
  if [[ -n "${!variable}" ]]; then
    arguments+=("$name:=${!variable}")
  fi
done
exec ros2 launch \
  --launch-prefix "chrt --fifo $OCTO_FILTER_PRIORITY" --launch-prefix-filter safety_filter_node \
  octo_ros octo.launch.py "${arguments[@]}" "$@"
