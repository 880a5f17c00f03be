"""Packaging of the packages under ``projects/``.

Nothing here imports torch, so the project installs in any environment, isolated builds included.
Detectron2 is not a requirement because no package index carries a release of it that installs;
``smalldet install-detectron2`` takes its place (``make`` calls its script in ``tools/``).
"""

from pathlib import Path
from shutil import copy, copytree, ignore_patterns

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class WithConfigs(build_py):
    """Lays configs and training script into the package that looks for them (``console.home``)."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout has them already
            home = Path(self.build_lib, "console", "home")
            unwanted = ignore_patterns("__pycache__")
            copytree("configs", home / "configs", ignore=unwanted, dirs_exist_ok=True)
            (home / "tools").mkdir(exist_ok=True)
            copy("tools/lazyconfig_train_net.py", home / "tools")


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
    "setuptools>=68,<82",  # it and wheel: for Detectron2's installer
    "wheel",
    "torch>=2.7",
    "torchvision>=0.22",
    "safetensors>=0.4",
    "timm>=1.0.9",
    "opencv-python>=4.8",
    "pycocotools>=2.0.7",
    "faster-coco-eval>=1.6",
    "simplejpeg>=1.8",
    "tensorboard>=2.15",
    *DETECTRON2_NEEDS,
]

setup(
    name="smalldet",
    version="0.2.0",
    description="Small-object detection research on Detectron2: frozen Vision Mamba, "
    "event cameras, one factor at a time",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    package_dir={"": "projects"},
    packages=find_packages("projects"),
    cmdclass={"build_py": WithConfigs},
    entry_points={"console_scripts": ["smalldet = console.main:main"]},
    package_data={
        "smalldet.data": ["csrc/*"],
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
        "convert": ["PyYAML>=6", "globox>=2.9"],
        "export": [
            "onnx>=1.19",
            "onnxruntime>=1.22",
            "onnxscript>=0.5",
            "safetensors>=0.4",
        ],
        "hub": ["huggingface_hub>=0.23"],
        "sahi": ["sahi>=0.12"],
        "supervision": ["supervision>=0.25"],
        "sweep": ["submitit>=1.5"],
        "wandb": ["wandb>=0.17"],
        "docs": [
            "ipykernel>=6.29",
            "mkdocs-material>=9.5",
            "mkdocstrings[python]>=0.26",
            "nbclient>=0.10",
            "nbformat>=5.10",
        ],
        "dev": [
            "hypothesis>=6.100",
            "pyright>=1.1.380",
            "pytest>=8",
            "pytest-cov>=7",
            "pytest-xdist>=3.7",
            "ruff>=0.6",
        ],
    },
)
