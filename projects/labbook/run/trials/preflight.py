"""Would every config of a study run? Two steps and a small evaluation of each, at toy size.

First each real config is loaded strictly and its declaration checked; then the same at toy size is
trained in a process of its own, on the CPU and on generated data, a few of them at a time. A config
without a toy-size version cannot be tried and so counts as failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from labbook.config.guard import study_problems
from labbook.config.lineage import Family
from labbook.config.load import to_plain
from labbook.config.overrides import assignment, present_overrides
from labbook.config.studies import Study, find_experiments, get_study
from labbook.run.jobs import Job
from labbook.run.trials.attempts import Trial, try_jobs
from labbook.run.trials.forked import ForkedRun, load_once
from runfolder.trust import targets

FOLDER = "work_dirs/debug/preflight"
"""Holds a folder for each study; runs in it itself would be runs on a data set of that name."""
LIMIT_SECONDS = 600.0
STEPS, SAMPLES = 2, 2
AT_A_TIME = 4  # at most; memory, not cores, is what then gets scarce
WANTED = {
    "train.max_iter": STEPS,
    "train.eval_period": STEPS,
    "train.checkpointer.period": STEPS,
    "train.device": "cpu",
    "dataloader.valid.limit": SAMPLES,
    "dataloader.test.limit": SAMPLES,
}
"""What makes a run short, as far as a config has these keys."""


def preflight(study: Study, names: list[str], root: Path, train_script: str) -> Iterator[Trial]:
    """Check configs of a study, which is not that of toy size; several are tried at a time.

    Raises:
        ValueError: the study has no toy-size version, or that has no configs.
    """
    debug = get_study(study.name, root, debug=True)
    toys, family = find_experiments(debug, root), Family(debug, root)
    wrong = study_problems(Family(study, root), names)
    wrong_toys = study_problems(family, [name for name in names if name in toys])
    for name in names:
        if name not in toys:
            missing = f"{debug.config_folder}/{name}.py"
            wrong.setdefault(name, f"It was not tried: there is no toy-size version {missing}.")
        elif name in wrong_toys:
            wrong.setdefault(name, f"{toys[name]}: {wrong_toys[name]}")
    sound = [name for name in names if name not in wrong]
    trials = _tried([_job(name, toys[name], family, root, train_script) for name in sound], root)
    for name in names:
        yield Trial(name, False, wrong[name]) if name in wrong else next(trials)


def _job(name: str, toy: Path, family: Family, root: Path, train_script: str) -> Job:
    cfg, folder = family.load(name), root / FOLDER / family.study.name.removesuffix("-debug") / name
    place = assignment("train.output_dir", str(folder))
    overrides = (*present_overrides(to_plain(cfg), WANTED), place)
    return Job(name, toy, folder, cfg, train_script, overrides)


def _tried(jobs: Sequence[Job], root: Path) -> Iterator[Trial]:
    """Two steps and an evaluation of each; their checkpoints are removed."""
    cores = os.cpu_count() or 1
    at_a_time = min(cores, AT_A_TIME)
    named = {path.rpartition(".")[0] for job in jobs for path in targets(to_plain(job.cfg))}
    load_once(named, cores // at_a_time)
    trials = try_jobs(jobs, root, LIMIT_SECONDS, at_a_time, ForkedRun)
    for job, trial in zip(jobs, trials, strict=True):
        for checkpoint in job.folder.glob("*.pth"):
            checkpoint.unlink()
        said = f"{STEPS} steps and an evaluation" if trial.is_ok else trial.text
        yield trial._replace(text=said)
