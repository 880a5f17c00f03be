"""What the command line of a training run says."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labbook.config.overrides import assignment
from labbook.config.studies import STUDIES, Study
from runfolder.records import RunRecord


@dataclass(frozen=True)
class Invocation:
    """The words of a training command that decide what is trained."""

    config_file: Path | None
    overrides: tuple[str, ...]
    """``key=value``; one for ``--data-root`` is among them."""
    launch: tuple[str, ...]
    """Detectron2's options for several processes, as ``--num-gpus 2``."""

    def study(self) -> tuple[Study, str, Path] | None:
        """Study, config name and the project's root folder; None for a config of no study."""
        if self.config_file is None or self.config_file.suffix != ".py":
            return None
        path = self.config_file.resolve()
        for study in STUDIES.values():
            folder = Path(study.config_folder)
            if path.parent.parts[-len(folder.parts) :] == folder.parts:
                return study, path.stem, path.parents[len(folder.parts)]
        return None


def parse_command(command: Sequence[str]) -> Invocation:
    """Read a command as :attr:`runfolder.records.RunRecord.command` holds it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    launch = ("--num-gpus", "--num-machines", "--machine-rank", "--dist-url")
    for option in ("--config-file", "--data-root", *launch):
        parser.add_argument(option)
    try:
        options, rest = parser.parse_known_args(list(command)[1:])
    except argparse.ArgumentError:  # an option without its value
        return Invocation(None, (), ())
    overrides = [word for word in rest if "=" in word and not word.startswith("-")]
    if options.data_root:
        overrides.append(assignment("dataset.root", options.data_root))
    values = [(option, getattr(options, option[2:].replace("-", "_"))) for option in launch]
    words = [word for pair in values if pair[1] is not None for word in pair]
    config_file = Path(options.config_file) if options.config_file else None
    return Invocation(config_file, tuple(overrides), tuple(words))


def shell_text(record: RunRecord) -> str:
    """The command of a run as a shell takes it."""
    launcher = ["python"]
    if record.processes > 1:
        launcher = ["torchrun", f"--nproc-per-node={record.processes}"]
    return shlex.join([*launcher, *record.command])
