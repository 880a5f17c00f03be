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
from labbook.config.overrides import assignment
from labbook.config.studies import Study, find_experiments, get_study
from labbook.run.processes import Trial, run_briefly, train_command

FOLDER = "work_dirs/debug/preflight"
LIMIT_SECONDS = 600.0
STEPS, SAMPLES = 2, 2


def preflight(study: Study, names: list[str], root: Path, train_script: str) -> Iterator[Trial]:
    """Check configs of a study, which is not that of toy size, one after the other.

    Raises:
        ValueError: the study has no toy-size version, or that has no configs.
    """
    debug = get_study(study.name, root, debug=True)
    toys = find_experiments(debug, root)
    wrong = study_problems(Family(study, root), names)
    wrong_toys = study_problems(Family(debug, root), [name for name in names if name in toys])
    for name in names:
        if name in wrong:
            yield Trial(name, False, wrong[name])
        elif name not in toys:
            missing = f"{debug.config_folder}/{name}.py"
            yield Trial(name, False, f"It was not tried: there is no toy-size version {missing}.")
        elif name in wrong_toys:
            yield Trial(name, False, f"{toys[name]}: {wrong_toys[name]}")
        else:
            yield _try(name, toys[name], root, train_script)


def _try(name: str, config_file: Path, root: Path, train_script: str) -> Trial:
    folder = root / FOLDER / name
    overrides = [
        f"train.max_iter={STEPS}",
        f"train.eval_period={STEPS}",
        f"train.checkpointer.period={STEPS}",
        "train.device=cpu",
        f"dataloader.valid.limit={SAMPLES}",
        f"dataloader.test.limit={SAMPLES}",
        assignment("train.output_dir", str(folder)),
    ]
    command = train_command(train_script, config_file, overrides)
    trial = run_briefly(command, folder, root, LIMIT_SECONDS)
    for checkpoint in folder.glob("*.pth"):
        checkpoint.unlink()
    return trial._replace(text=f"{STEPS} steps and an evaluation") if trial.is_ok else trial
