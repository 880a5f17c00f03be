"""Would every config of a study run? Two steps and a small evaluation of each, at toy size.

First each real config is loaded strictly and its declaration checked; then its toy-size twin is
trained in a child process, on the CPU and on generated data. A config without a twin cannot be
tried and so counts as failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from labbook.config.guard import study_problems
from labbook.config.lineage import Family
from labbook.config.overrides import assignment
from labbook.config.studies import Study, find_experiments, get_study
from labbook.run.short_runs import run_briefly

FOLDER = "work_dirs/debug/preflight"
LIMIT_SECONDS = 600.0
STEPS, SAMPLES = 2, 2


class Check(NamedTuple):
    """What came of one config."""

    name: str
    is_ok: bool
    text: str
    """A sentence; of a failure, the last that was said."""
    seconds: float = 0.0


def preflight(study: Study, names: list[str], root: Path) -> Iterator[Check]:
    """Check configs of a study one after the other.

    Args:
        study: the real study.
        names: config names of it.
        root: the project's root folder.

    Raises:
        ValueError: the study has no toy-size twin, or that has no configs.
    """
    twin = get_study(study.name, debug=True)
    twins = find_experiments(twin, root)
    wrong = study_problems(Family(study, root), names)
    wrong_twins = study_problems(Family(twin, root), [name for name in names if name in twins])
    for name in names:
        if name in wrong:
            yield Check(name, False, wrong[name])
        elif name not in twins:
            missing = f"{twin.config_folder}/{name}.py"
            yield Check(name, False, f"It was not tried, for want of a toy-size twin {missing}.")
        elif name in wrong_twins:
            yield Check(name, False, f"{twins[name]}: {wrong_twins[name]}")
        else:
            yield _try(name, twins[name], root)


def overrides_for(folder: Path) -> list[str]:
    """Overrides that make a toy-size run as short as can be, in a folder of its own."""
    return [
        f"train.max_iter={STEPS}",
        f"train.eval_period={STEPS}",
        f"train.checkpoint_period={STEPS}",
        "train.device=cpu",
        f"dataloader.valid.limit={SAMPLES}",
        f"dataloader.test.limit={SAMPLES}",
        assignment("train.output_dir", str(folder)),
    ]


def _try(name: str, config_file: Path, root: Path) -> Check:
    folder = root / FOLDER / name
    done = run_briefly(config_file, overrides_for(folder), folder, root, LIMIT_SECONDS)
    for checkpoint in folder.glob("*.pth"):
        checkpoint.unlink()
    said = f"{STEPS} steps and an evaluation" if done.is_finished else done.last_line
    return Check(name, done.is_finished, said, done.seconds)
