"""Whether this machine can run the project, and what to do where it cannot.

Each check imports what it looks at on use, so that a broken installation becomes a red line.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from smalldet.doctor.findings import Finding, as_lines, examine, first_line, show, status

CHECKOUT = Path(__file__).resolve().parents[3]
GIB = 2**30
ONE_RUN_GIB = 2  # checkpoints that a run keeps: two recent, best, final, 0.6 GB each
COMFORTABLE_DISK_GIB = 10
COMFORTABLE_GPU_GIB = 7.5  # what cards sold as 8 GB report
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 12)
SPLITS = ("train", "valid", "test")
KERNELS = (
    *("causal_conv", "count_conv", "feed_forward", "group_attention"),
    *("lstm_update", "onednn", "roi_align", "winograd"),
)


def install_line(extra: str = "train") -> str:
    """The command that installs what an extra of ``setup.py`` needs.

    In a checkout it is that of docs/index.md. An installed package has no folder to name, so the
    requirements themselves are, those of the base included, as far as they are missing.
    """
    if IN_CHECKOUT:
        return f'python -m pip install -c constraints.txt -e ".[{extra}]"'
    try:
        needed = [line.split(";") for line in requires("smalldet") or ()]
    except PackageNotFoundError:
        return f'python -m pip install ".[{extra}]"'
    wanted = [name.strip() for name, *mark in needed if not mark or f'"{extra}"' in mark[0]]
    missing = [requirement for requirement in wanted if not _is_installed(requirement)]
    return f"python -m pip install {shlex.join(missing or wanted)}"


def _is_installed(requirement: str) -> bool:
    try:
        version(re.split(r"[^\w.-]", requirement)[0])
    except PackageNotFoundError:
        return False
    return True


IN_CHECKOUT = (CHECKOUT / "constraints.txt").is_file()
INSTALL = install_line()
INSTALL_DETECTRON2 = (
    "python tools/install_detectron2.py" if IN_CHECKOUT else "smalldet install-detectron2"
)


def check_python() -> Finding:
    """The running Python against the tested ones."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("red", found, "Install Python 3.11 or 3.12, then run: make demo")
    if sys.version_info[:2] > NEWEST_PYTHON:
        return Finding("yellow", found, "Tested are 3.11 and 3.12; use one of them if in doubt.")
    return Finding("green", found)


def check_torch_pair() -> Finding:
    """torch and torchvision by a call of the operator that a mismatched pair lacks."""
    matched = "Install a matched pair: python -m pip install --upgrade torch torchvision"
    if IN_CHECKOUT:
        matched = f"Install the matched pair that constraints.txt names: {INSTALL}"
    try:
        torch = import_module("torch")
        torchvision = import_module("torchvision")
        boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist()
    except ModuleNotFoundError as error:
        return Finding("red", f"not installed ({error})", INSTALL)
    except Exception as error:
        if "torchvision::nms" in str(error):
            return Finding("red", f"built for different versions ({first_line(error)})", matched)
        return Finding("red", f"broken ({first_line(error)})", matched)
    pair = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    if kept != [0]:
        return Finding("red", f"{pair}: nms keeps {kept} where [0] is right", matched)
    return Finding("green", f"{pair}: nms works")


def check_detectron2() -> Finding:
    """Detectron2 by importing its engine, which draws in everything that breaks with time."""
    try:
        detectron2 = import_module("detectron2")
        import_module("detectron2.engine")
        compiler = import_module("detectron2._C").get_compiler_version()
    except ModuleNotFoundError as error:
        return Finding("red", f"not usable ({error})", INSTALL_DETECTRON2)
    except Exception as error:
        again = f"python -m pip uninstall -y detectron2, then {INSTALL_DETECTRON2}"
        return Finding("red", f"broken ({first_line(error)})", again)
    if compiler == "not compiled":
        operators = "without compiled operators, which no model here needs"
    else:
        operators = f"with compiled operators ({compiler})"
    return Finding("green", f"{detectron2.__version__}, {operators}")


def check_opencv() -> Finding:
    """OpenCV, whose desktop build wants graphics libraries that servers lack."""
    try:
        return Finding("green", import_module("cv2").__version__)
    except ModuleNotFoundError as error:
        return Finding("red", f"not installed ({error})", INSTALL)
    except ImportError as error:
        fix = (
            "apt-get install libgl1 libglib2.0-0, or: python -m pip uninstall -y opencv-python "
            "&& python -m pip install opencv-python-headless"
        )
        return Finding("red", f"a system library is missing ({first_line(error)})", fix)


def check_coco_evaluator() -> Finding:
    """The compiled evaluator behind the scores."""
    import_module("faster_coco_eval")
    return Finding("green", f"faster-coco-eval {version('faster-coco-eval')}")


def check_gpu() -> Finding:
    """The GPUs that torch can use."""
    torch = import_module("torch")
    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi"):
            built = torch.version.cuda or "no CUDA"
            fix = f"torch is built for {built}: update the driver (nvidia-smi shows what it allows)"
            return Finding("yellow", "a GPU that torch cannot use", f"{fix}, or {INSTALL}")
        return Finding("yellow", "no GPU; CPU runs are for debugging (configs/debug, make demo)")
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = ", ".join(f"{card.name} ({card.total_memory / GIB:.1f} GiB)" for card in cards)
    if min(card.total_memory for card in cards) < COMFORTABLE_GPU_GIB * GIB:
        return Finding("yellow", found, "Below 8 GB, run with train.micro_batch_size=1.")
    return Finding("green", found)


def check_selective_scan() -> Finding:
    """The backend that ``auto`` means here, by a small run of it."""
    torch = import_module("torch")
    backends = import_module("smalldet.kernels.scan.backends")
    scan = import_module("smalldet.layers.selective_scan")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = backends.resolve_backend("auto", device)
    fastest = next(kernel for kernel, where in backends.DEVICES.items() if where == device)
    inputs, weights = torch.ones(1, 2, 5, device=device), torch.ones(1, 3, 5, device=device)
    output = scan.selective_scan(inputs, inputs, -torch.ones(2, 3).to(device), weights, weights)
    # h[t] = h[t-1] / e + 1 in each of three states: a geometric sum
    expected = 3 * (torch.exp(-torch.arange(5.0))).cumsum(0)
    if not torch.allclose(output.cpu(), expected.expand(output.shape), rtol=1e-4):
        fix = f"Install the tested versions: {INSTALL}. Then run: make test"
        return Finding("red", f"{name} computes wrong values", fix)
    if reason := name == "chunked" and backends.why_unusable(fastest, device):
        fix = f"The backend {fastest} is about ten times as fast; the results are the same."
        return Finding("yellow", f"backend {name}. {reason.rstrip('.')}", fix)
    return Finding("green", f"backend {name} on {device}")


def check_kernels() -> Finding:
    """The other compiled kernels, each tried beside its oracle; all of them are for CPUs."""
    modules = [import_module(f"smalldet.kernels.{name}") for name in KERNELS]
    absent = [module.KERNEL for module in modules if module.KERNEL.why_absent]
    if absent:
        names = ", ".join(kernel.name for kernel in absent)
        fix = f"{absent[0].why_absent} Without them a CPU is slower, with the same results."
        return Finding("yellow", f"without {names}", fix)
    return Finding("green", f"all {len(modules)} work and equal their oracles")


def check_event_files() -> Finding:
    """HDF5 with the filter of event recordings, by a small file in memory."""
    mend = install_line("events")
    try:
        h5py, hdf5plugin = import_module("h5py"), import_module("hdf5plugin")
    except ModuleNotFoundError as error:
        return Finding("yellow", f"not installed, event recordings need it ({error})", mend)
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("x", data=range(100), chunks=(10,), **hdf5plugin.Blosc())
        if data[99] != 99:
            return Finding("red", "Blosc does not give back what it was given", mend)
    return Finding("green", f"h5py {h5py.__version__}, Blosc of hdf5plugin {hdf5plugin.version}")


def check_disk(folder: Path = Path("work_dirs")) -> Finding:
    """Free space where runs are written."""
    existing = next(f for f in (folder, *folder.resolve().parents) if f.exists())
    free = shutil.disk_usage(existing).free / GIB
    found = f"{free:.1f} GiB free for {folder}; a run keeps up to {ONE_RUN_GIB} GiB"
    fix = f"Delete old checkpoints in {folder}, or write elsewhere: train.output_dir=FOLDER"
    if free < ONE_RUN_GIB:
        return Finding("red", found, fix)
    return Finding("yellow", found, fix) if free < COMFORTABLE_DISK_GIB else Finding("green", found)


def check_data(folder: Path | None = None) -> Finding:
    """Which splits of the head-detection data are in place."""
    folder = folder or Path(os.environ.get("DETECTRON2_DATASETS") or "datasets") / "coco"
    there = [s for s in SPLITS if (folder / s / "_annotations.coco.json").is_file()]
    if not there:
        return Finding("info", f"no data in {folder}; debug configs generate theirs")
    missing = [split for split in SPLITS if split not in there]
    lacking = f", without {' and '.join(missing)}" if missing else ""
    return Finding("info", f"{folder} holds {', '.join(there)}{lacking}")


CHECKS: dict[str, Callable[[], Finding]] = {
    "Python": check_python,
    "torch and torchvision": check_torch_pair,
    "Detectron2": check_detectron2,
    "OpenCV": check_opencv,
    "COCO evaluator": check_coco_evaluator,
    "GPU": check_gpu,
    "selective scan": check_selective_scan,
    "other kernels": check_kernels,
    "event files": check_event_files,
    "disk": check_disk,
    "data": check_data,
}


def main() -> int:
    """Print all findings; 1 if any is red, else 0."""
    findings = examine(CHECKS, INSTALL)
    show(as_lines(findings))
    return status(findings)
