"""Would every config of a study run? Two steps and a small evaluation of each, at toy size.

First each real config is loaded strictly and its declaration checked; then the same at toy size is
trained in a child process, on the CPU and on generated data. A config without a toy-size version
cannot be tried and so counts as failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labbook.config.guard import study_problems
from labbook.config.lineage import Family
from labbook.config.load import to_plain
from labbook.config.overrides import assignment, present_overrides
from labbook.config.studies import Study, find_experiments, get_study
from labbook.run.jobs import Job, Trial, try_job

FOLDER = "work_dirs/debug/preflight"
LIMIT_SECONDS = 600.0
STEPS, SAMPLES = 2, 2
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
    """Check configs of a study, which is not that of toy size, one after the other.

    Raises:
        ValueError: the study has no toy-size version, or that has no configs.
    """
    debug = get_study(study.name, root, debug=True)
    toys, family = find_experiments(debug, root), Family(debug, root)
    wrong = study_problems(Family(study, root), names)
    wrong_toys = study_problems(family, [name for name in names if name in toys])
    for name in names:
        if name in wrong:
            yield Trial(name, False, wrong[name])
        elif name not in toys:
            missing = f"{debug.config_folder}/{name}.py"
            yield Trial(name, False, f"It was not tried: there is no toy-size version {missing}.")
        elif name in wrong_toys:
            yield Trial(name, False, f"{toys[name]}: {wrong_toys[name]}")
        else:
            folder = root / FOLDER / name
            cfg, place = family.load(name), assignment("train.output_dir", str(folder))
            overrides = (*present_overrides(to_plain(cfg), WANTED), place)
            job = Job(name, toys[name], folder, cfg, train_script, overrides)
            trial = try_job(job, root, LIMIT_SECONDS)
            for checkpoint in folder.glob("*.pth"):
                checkpoint.unlink()
            said = f"{STEPS} steps and an evaluation" if trial.is_ok else trial.text
            yield trial._replace(text=said)
