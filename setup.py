"""Packaging of the packages under ``projects/``.

Nothing here imports torch, so the project installs in any environment, isolated builds included.
Detectron2 is not a requirement because no package index carries a release of it that installs;
``tools/install_detectron2.py`` takes its place (``make`` calls it).
"""

from setuptools import find_packages, setup

BASE = [
    "filelock>=4",
    "hydra-core>=1.3,<1.4",
    "jinja2>=3.1",
    "matplotlib>=3.8",
    "numpy>=1.26",
    "omegaconf>=2.3,<2.4",
    "pandas>=2.2",
    "psutil>=5.9",
    "rich>=13",
    "tabulate>=0.9",
]
DETECTRON2_NEEDS = [
    "Pillow>=10",
    "cloudpickle",
    "fvcore>=0.1.5.post20221221,<0.1.6",
    "iopath>=0.1.9,<0.1.10",
    "packaging",
    "termcolor>=1.1",
    "tqdm>4.29.0",
    "yacs>=0.1.8",
]
TRAIN = [
    "torch>=2.7",
    "torchvision>=0.22",
    "safetensors>=0.4",
    "timm>=1.0.9",
    "opencv-python>=4.8",
    "pycocotools>=2.0.7",
    "faster-coco-eval>=1.6",
    "tensorboard>=2.15",
    *DETECTRON2_NEEDS,
]

setup(
    name="smalldet",
    version="0.1.0",
    description="Small-object detection research on Detectron2: frozen Vision Mamba, "
    "event cameras, one factor at a time",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    package_dir={"": "projects"},
    packages=find_packages("projects"),
    package_data={
        "smalldet.kernels": ["csrc/*"],
        "eventcam": ["csrc/*"],
        "labbook": ["**/*.j2", "**/*.css"],
    },
    install_requires=BASE,
    extras_require={
        "train": TRAIN,
        "events": [
            "h5py>=3.10",
            "hdf5plugin>=4.4",
            "opencv-python>=4.8",
            "tqdm>4.29.0",
        ],
        "export": [
            "onnx>=1.19",
            "onnxruntime>=1.22",
            "onnxscript>=0.5",
            "safetensors>=0.4",
        ],
        "sweep": ["submitit>=1.5"],
        "wandb": ["wandb>=0.17"],
        "dev": [
            "hypothesis>=6.100",
            "pyright>=1.1.380",
            "pytest>=8",
            "pytest-cov>=7",
            "pytest-xdist>=3.6",
            "ruff>=0.6",
        ],
    },
)
