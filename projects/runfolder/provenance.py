"""Which code, environment, devices and process a run has; nothing heavy is imported."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import psutil

from runfolder.schema import Code, Devices

HERE = Path(__file__).parent
_GIT = ("-c", "core.quotepath=off", "-c", "diff.noprefix=false", "--no-optional-locks")
PACKAGES = (
    "smalldet",
    "torch",
    "torchvision",
    "detectron2",
    "timm",
    "numpy",
    "fvcore",
    "omegaconf",
    "hydra-core",
    "opencv-python",
    "Pillow",
    "simplejpeg",
    "pycocotools",
    "faster-coco-eval",
    "h5py",
    "hdf5plugin",
)


def code_version() -> Code:
    """Commit of the checkout that this code runs from, and whether it has uncommitted changes.

    Both are None without git, outside a checkout and before the first commit.
    """
    commit = (git(HERE, "rev-parse", "HEAD") or b"").decode().strip() or None
    changes = git(HERE, "status", "--porcelain") if commit else None
    return {"commit": commit, "uncommitted_changes": None if changes is None else bool(changes)}


@cache  # a process runs the code that it was started with
def own_code() -> Code:
    """:func:`code_version` as it was when this process first asked.

    A commit that is made later is not what the process runs.
    """
    return code_version()


def git(
    folder: Path, *words: str, environment: Mapping[str, str] | None = None, stdin: bytes = b""
) -> bytes | None:
    """What a git command prints in ``folder``; None if it fails or git is not there."""
    return output_of(["git", *_GIT, "-C", str(folder), *words], environment, stdin)


def environment() -> dict[str, str | None]:
    """Versions of Python, the system and the packages that decide numbers (None: not there)."""
    return dict(_versions())


@cache  # a process computes with what it has loaded
def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def devices() -> Devices:
    """What a run computes on: ``gpus``, the names of those that it may use, and ``cpu``."""
    return {"gpus": list(_gpu_names(os.environ.get("CUDA_VISIBLE_DEVICES"))), "cpu": _cpu_name()}


@cache
def _gpu_names(visible: str | None) -> tuple[str, ...]:
    """Names of the GPUs that CUDA_VISIBLE_DEVICES lets a process use."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    if visible:
        command.append(f"--id={visible}")
    listed = b"" if visible == "" else output_of(command) or b""
    lines = listed.decode(errors="replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


@cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def process_start(pid: int) -> str | None:
    """When a living process of this machine started, in seconds since boot.

    Process numbers are given out again, in containers soon; with its start a process is itself.
    Seconds since boot do not change when the clock is set.

    Returns:
        None if there is no such process (a dead one that nobody has waited for counts as none);
        "unknown" if it lives and the system does not tell when it started.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return f"{process.create_time() - psutil.boot_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return "unknown"


def output_of(
    command: list[str], environment: Mapping[str, str] | None = None, stdin: bytes = b""
) -> bytes | None:
    """What a command prints; None if it fails or is not there."""
    variables = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=60, check=True, env=variables
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
