"""RLDS data sets, the format Octo is trained on, from and to rosbag2; no TensorFlow is needed.

from octo_ros.rlds.dataset import read_episodes

for episode in read_episodes("data", "train"):
    print(episode.instruction, episode.action.shape)
"""
