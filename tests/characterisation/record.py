"""Record what the code does: models, configs, loss traces, run folders, options of commands.

    python tests/characterisation/record.py [PART ...]

``test_characterisation.py`` compares the code of the day with what was recorded. Losses are equal
to the last digit on the same kind of machine only: on another one, record the traces of the older
commit there first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import detectron2
import torch
from changes import SHRUNK, translated
from detectron2.config import instantiate

from labbook.config.load import load_config, to_plain
from labbook.config.studies import find_experiments, find_studies

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONFIG_FOLDERS = ("ofat", "etram", "examples", "debug")
BASES = (
    "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py",
    "configs/etram/baseline_3scale_100k.py",
)

SCRIPT = "tools/lazyconfig_train_net.py"
OFAT = "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
ETRAM = "configs/debug/etram/baseline_3scale_100k.py"
ATTENTION = "configs/debug/etram/3scale_sizeaware_attention_100k.py"
HEADS = [
    "dataset.generate={seed: 0, image_size: 64, train: 8, valid: 2, test: 2}",
    "dataloader.image_size=64",
    "train.images=8",
    "train.total_batch_size=4",
    "train.log_period=1",
]
EVENTS = [
    "dataset.generate={seed: 0, train: 2, val: 1, test: 1, seconds: 1.0, width: 128, height: 96}",
    "dataloader.sequence_length=3",
    "train.total_batch_size=2",
    "train.micro_batch_size=1",
    "train.log_period=1",
]
TWENTY_STEPS = ["train.max_iter=20", "train.eval_period=20", "train.checkpoint_period=20"]
MIXED = "dataloader.train.sampling.mode=mixed"
TRACES = {
    "ofat": (OFAT, translated([*HEADS, *TWENTY_STEPS])),
    "etram": (ETRAM, translated([*EVENTS, *TWENTY_STEPS])),
    "etram_attention_mixed": (ATTENTION, translated([*EVENTS, *TWENTY_STEPS, MIXED])),
}
FOUR_STEPS = ["train.max_iter=4", "train.eval_period=2", "train.checkpoint_period=2"]
FEW_FRAMES = ["dataloader.valid.limit=3", "dataloader.test.limit=3"]
RUNS = {
    "ofat": (OFAT, [*translated([*HEADS, *FOUR_STEPS]), *SHRUNK["ofat"]]),
    "etram": (ETRAM, [*translated([*EVENTS, *FOUR_STEPS, *FEW_FRAMES]), *SHRUNK["etram"]]),
}
RUN_FOLDERS = {
    "ofat": "work_dirs/debug/ofat_baseline_lr0.001_bs8_adamw_ep100",
    "etram": "work_dirs/debug/etram_baseline_3scale_100k",
}
NOT_KEPT = ("events.out.tfevents.*", ".lock", "model_0000003.pth", "model_final.pth")
"""Of a run folder. The best model and the checkpoint after two steps are kept."""


# Configs and models ------------------------------------------------------------------------------


def config_files() -> list[str]:
    """The files in ``configs`` that are experiments, and those that are made at toy size."""
    folders = [ROOT / "configs" / name for name in CONFIG_FOLDERS]
    paths = {path.relative_to(ROOT) for folder in folders for path in folder.rglob("[!_]*.py")}
    for study in find_studies(ROOT).values():
        paths |= {*find_experiments(study, ROOT).values()}
    return sorted(path.as_posix() for path in paths)


@cache
def resolved(config: str) -> dict[str, Any]:
    """A config in plain dicts and lists, with data sets in their default folder."""
    with mock.patch.dict(os.environ):
        os.environ.pop("DETECTRON2_DATASETS", None)
        return to_plain(load_config(ROOT / config))


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted key; a list without dicts is a value, as is an empty dict."""
    items = node if isinstance(node, list) else []
    nested = isinstance(node, dict) or any(isinstance(item, dict) for item in items)
    if not nested or not node:
        yield key, node
        return
    for name, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield from leaves(child, f"{key}.{name}".lstrip("."))


def state_dict_lines(model: dict[str, Any]) -> list[str]:
    """``key shape dtype`` of each tensor of the model that a config node describes.

    It is built without memory for its weights, and without reading any.
    """
    with torch.device("meta"):
        built = instantiate(without_checkpoints(model))
    return [
        f"{key} {'x'.join(map(str, value.shape)) or 'scalar'} {str(value.dtype)[6:]}"
        for key, value in built.state_dict().items()
    ]


def without_checkpoints(node: Any) -> Any:
    if isinstance(node, list):
        return [without_checkpoints(child) for child in node]
    if not isinstance(node, dict):
        return node
    return {k: "" if k == "init_checkpoint" else without_checkpoints(v) for k, v in node.items()}


def record_models() -> None:
    """``models.json``: name of a file in ``state_dicts`` by config."""
    folder = HERE / "state_dicts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = {}
    for config in config_files():
        text = "\n".join(state_dict_lines(resolved(config)["model"])) + "\n"
        names[config] = f"{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"
        (folder / names[config]).write_text(text)
    write_json("models.json", names)


def record_configs() -> None:
    """``configs.json``: the two bases, and what each other config has and lacks beside one."""
    recorded: dict[str, Any] = {base: dict(leaves(resolved(base))) for base in BASES}
    for config in config_files():
        values = dict(leaves(resolved(config)))
        if config not in BASES:
            deltas = (difference(base, recorded[base], values) for base in BASES)
            recorded[config] = min(deltas, key=lambda delta: len(json.dumps(delta)))
    write_json("configs.json", recorded)


def difference(name: str, base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    same = {key for key in base.keys() & values.keys() if repr(base[key]) == repr(values[key])}
    return {
        "base": name,
        "lacks": sorted(base.keys() - values.keys()),
        "has": {key: value for key, value in values.items() if key not in same},
    }


def recorded_values(recorded: dict[str, Any], config: str) -> dict[str, Any]:
    """The leaves of a config that :func:`record_configs` wrote."""
    if config in BASES:
        return recorded[config]
    delta = recorded[config]
    base = recorded[delta["base"]]
    return {key: base[key] for key in base.keys() - set(delta["lacks"])} | delta["has"]


# Runs --------------------------------------------------------------------------------------------


def workplace(folder: Path) -> Path:
    """A folder to run scripts in, so that all that they read and write has a relative path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("configs", "tools"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run_script(
    place: Path, config: str, overrides: list[str], *flags: str
) -> subprocess.CompletedProcess[str]:
    """Run the training script in ``place``, on one core."""
    arguments = [SCRIPT, "--config-file", config, *flags, *overrides]
    return python(arguments, place)


def python(arguments: list[str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A Python process with the packages of this checkout, on one core, with data in ``folder``."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "projects"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "DETECTRON2_DATASETS": "datasets",
    }
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr, file=sys.stderr)  # pytest shows it where a test fails
    return done


def machine() -> dict[str, Any]:
    """What the last digit of a loss depends on, besides the code."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model, flags = (re.search(rf"^{key}\s*: (.*)$", text, re.M) for key in ("model name", "flags"))
    return {
        "cpu": model[1] if model else "",
        "flags": hashlib.sha256(flags[1].encode()).hexdigest()[:16] if flags else "",
        "threads": 1,
        "torch": torch.__version__,
        "detectron2": detectron2.__version__,
    }


def trace(place: Path, name: str) -> dict[str, Any]:
    """Losses, gradient norm, learning rate and last scores of 20 steps, and the final weights."""
    config, overrides = TRACES[name]
    folder = f"work_dirs/traces/{name}"
    run_script(place, config, [*overrides, f"train.output_dir={folder}"]).check_returncode()
    rows = map(json.loads, (place / folder / "metrics.json").read_text().splitlines())
    wanted = re.compile(r"(?!.*/).*loss.*|validation/.*|bbox/.*|grad_norm|lr|iteration")
    steps = [{key: row[key] for key in row if wanted.fullmatch(key)} for row in rows]
    return {"steps": steps, "weights": digest(place / folder / "model_final.pth")}


def digest(checkpoint: Path) -> str:
    """SHA-256 of the names and bytes of a model's weights."""
    model = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    found = hashlib.sha256()
    for name in sorted(model):
        found.update(name.encode() + model[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def record_traces() -> None:
    """``traces.json``: the machine, and the trace of each run of ``TRACES``."""
    with tempfile.TemporaryDirectory() as folder:
        place = workplace(Path(folder) / "place")
        traces = {name: trace(place, name) for name in TRACES}
    write_json("traces.json", {"machine": machine(), **traces})


def record_runs() -> None:
    """``runs/LINE``: what a tiny run leaves, without large files and the machine's name."""
    with tempfile.TemporaryDirectory() as folder:
        place = workplace(Path(folder) / "place")
        for config, overrides in RUNS.values():
            run_script(place, config, overrides).check_returncode()
        for line, made in RUN_FOLDERS.items():
            kept = HERE / "runs" / line
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(place / made, kept, ignore=shutil.ignore_patterns(*NOT_KEPT))
            text = (kept / "run.json").read_text().replace(f'"{socket.gethostname()}"', '"host"')
            (kept / "run.json").write_text(re.sub(r'"system": ".*"', '"system": "Linux"', text))
    write_json("runs/machine.json", machine())


# Commands and files ------------------------------------------------------------------------------


def all_options() -> dict[str, list[str]]:
    """Options by command, of all commands."""
    return json.loads(python([str(HERE / "options.py")]).stdout)


def record_options() -> None:
    """``options.json``: option strings by command."""
    write_json("options.json", all_options())


def read_json(name: str) -> Any:
    return json.loads((HERE / name).read_text())


def write_json(name: str, content: Any) -> None:
    """Floats keep all their digits."""
    (HERE / name).write_text(json.dumps(content, indent=1) + "\n")


PARTS = {
    "models": record_models,
    "configs": record_configs,
    "traces": record_traces,
    "runs": record_runs,
    "options": record_options,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
