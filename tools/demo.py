#!/usr/bin/env python3
"""From nothing to two trained and evaluated detectors on generated data: make demo"""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.status import exit_status

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ("configs/debug/demo/heads.py", "configs/debug/demo/events.py")
ENOUGH = 20.0  # AP50 on valid, in percent; chance is far below 5


def main() -> int:
    ArgumentParser(description=__doc__).parse_args()
    from labbook.config.load import load_config

    runs = [load_config(ROOT / config) for config in CONFIGS]
    write_weights(runs[0].model.backbone.bottom_up)
    status = tool("lab.py", "run", "demo")
    passed = [report(cfg) for cfg in runs]
    return status or int(not all(passed))


def write_weights(vim) -> None:
    """Generated weights of the frozen backbone, in the published container and keys."""
    from smalldet.backbones.vim.random_checkpoint import write_random_checkpoint

    path = ROOT / vim.init_checkpoint
    if not path.exists():
        write_random_checkpoint(path, depth=vim.depth, embed_dim=vim.embed_dim)
    print(f"generated weights: {vim.init_checkpoint}")


def report(cfg) -> bool:
    """Draw what a run found, list what it wrote, and say whether it has learned enough."""
    from runfolder.records import read_results

    folder = ROOT / cfg.train.output_dir
    results = read_results(folder)
    if results is None:
        print(f"{cfg.experiment.name} has no results; see {folder}.")
        return False
    draw(folder)
    print(f"\n{cfg.experiment.name}: data in {cfg.dataset.root}, written to {cfg.train.output_dir}")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.parent.name != "gallery":
            print(f"  {path.relative_to(ROOT)}  ({path.stat().st_size / 1e6:.1f} MB)")
    print(f"  curves: .venv/bin/tensorboard --logdir {cfg.train.output_dir}")
    ap50 = results["valid"]["bbox/AP50"]
    verdict = "worked" if ap50 >= ENOUGH else "FAILED"
    print(f"  The demo {verdict}: AP50 on valid is {ap50:.1f}, at least {ENOUGH:.0f} is needed.")
    return ap50 >= ENOUGH


def draw(folder: Path) -> None:
    """Predictions beside ground truth, as a picture in the run folder."""
    if tool("visualize_predictions.py", str(folder), str(folder / "predictions.png")):
        raise SystemExit(f"The predictions in {folder} could not be drawn.")


def tool(script: str, *words: str) -> int:
    """Run another script of this folder; its exit status."""
    command = [sys.executable, f"tools/{script}", *words]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(exit_status(main))
