#!/usr/bin/env python3
"""From nothing to trained detectors on generated data, with picture, video and report: make demo"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))
from console.status import exit_status

ROOT, WORK = Path(__file__).resolve().parents[1], Path("work_dirs/debug")
HEADS, COARSE, EVENTS = (WORK / f"demo_{name}" for name in ("heads", "heads_coarse", "events"))
PICTURE, VIDEO = WORK / "demo_before_after.png", WORK / "demo_found.mp4"
PYTHON, TRAIN = sys.executable.removeprefix(f"{ROOT}/"), "tools/lazyconfig_train_net.py"
PREDICT = f"{PYTHON} tools/predict.py {HEADS} datasets/demo_heads/test"
TRAIN_OWN = f"{PYTHON} {TRAIN} --config-file configs/examples/small_heads.py"
TRAIN_OWN += " --data-root datasets/demo_heads train.images=240"
ENOUGH = 60.0  # AP50 in percent; chance and labels of other images stay below 5


def main() -> int:
    ArgumentParser(description=__doc__).parse_args()
    print(f"Small detectors learn on generated data, two at a time; logs: {WORK}/*/console.txt")
    compare(trained())
    passed = [verdict(ROOT / folder) for folder in (HEADS, EVENTS)]
    draw()
    print(f"picture: {PICTURE}\nvideo: {VIDEO}\nreport: {WORK}/demo_report.html")
    print(f"predict your own image: {PREDICT}\ntrain on your data: {TRAIN_OWN}")
    return int(not all(passed))


def trained():
    """The study of the demo, all of whose runs are finished."""
    from labbook.config.lineage import Family
    from labbook.config.studies import find_experiments, get_study
    from labbook.run.jobs import plan_jobs
    from labbook.run.runner import RunOptions, run_jobs

    study = get_study("demo", ROOT)
    jobs = plan_jobs(Family(study, ROOT), find_experiments(study, ROOT), TRAIN)
    outcomes, stopped = run_jobs(jobs, ROOT, RunOptions(slots=2))
    if stopped or not all(outcome.is_finished for outcome in outcomes):
        raise ValueError("\n".join(f"{one.name} {one.message}" for one in outcomes))
    return study


def verdict(folder: Path) -> bool:
    ap50 = json.loads((folder / "results.json").read_text())["valid"]["bbox/AP50"]
    print(f"{folder.name}: AP50 on valid is {ap50:.1f}; the demo wants {ENOUGH:.0f} or more.")
    return ap50 >= ENOUGH


def compare(study) -> None:
    from boxmetrics.matches import Matches
    from labbook.report import gallery, page
    from labbook.results.collect import collect
    from labbook.results.text import difference_text

    results = collect(study, ROOT, only=[HEADS.name, COARSE.name])
    row = results.differences.query("split == 'valid' and key == 'bbox/AP50'").iloc[0]
    files = (ROOT / run / "evaluation/valid/matches.npz" for run in (COARSE, HEADS))
    gained, lost = map(len, gallery.changed(*map(Matches.load, files)))
    print(f"Without stride 4: AP50 {difference_text(row)}, heads lost {lost}, gained {gained}.")
    page.write_report(results, ROOT)


def draw() -> None:
    from smalldet.vis.before_after import before_after_sheet

    before_after_sheet(ROOT / HEADS, ROOT / PICTURE)
    video = ("tools/visualize_predictions.py", EVENTS, VIDEO, "--recording", "best")
    subprocess.run([sys.executable, *video], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(exit_status(main))
