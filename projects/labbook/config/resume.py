"""May a run go on, or count as done, under the config of today?"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from labbook.config.load import ConfigError, diff_configs, read_config, to_plain
from labbook.config.plain import without_live
from labbook.config.signatures import MISSING
from labbook.config.trees import flatten, written
from runfolder.names import CONFIG, CONFIG_SOURCE, MICRO_BATCH
from runfolder.records import has_checkpoint, read_record
from runfolder.trust import targets

RUN_ONLY_KEYS = (
    "experiment.*",  # what it says about itself
    "train.output_dir",
    "train.device",
    "train.eval_precision",  # further scores beside the others
    "train.log_period",
    "train.on_oom",  # the micro-batch that is used then counts
    "train.checkpointer.*",
    "train.keep_every",
    "train.feature_cache",
    "train.profile",
    "train.wandb",
    "train.project_name",
    "train.group_name",
    "train.experiment_id",
    "dataloader.resize",  # what mappers take of them is compared there
    "dataloader.resizes.*",
    "dataloader.num_workers",
    "dataloader.*.num_workers",
    "dataloader.valid.batch_size",  # what is seen at a time, where nothing is learned
    "dataloader.test.batch_size",
    "model.backbone.checkpoint",
    "model.backbone.bottom_up.checkpoint",
    "model.backbone.bottom_up.scan_backend",
    "model.head.*.checkpoint",
    "model.roi_heads.*.checkpoint",
    "evaluation.*.slices",  # further scores beside the others, which stay
    "evaluation.*.slices.*",
)
"""Keys, with ``*`` for any part, that change how a run is carried out and written down, not what it
measures. Not among them is ``train.micro_batch_size``: it changes batch norms and random draws. The
one that was used counts, where memory ran out (``train.on_oom=halve``)."""

_SHOWN = 5


def config_changes(cfg: DictConfig, folder: str | Path) -> dict[str, tuple[Any, Any]]:
    """(saved value, value now) by dotted key, where ``cfg`` measures something else than the run.

    Empty if the folder holds no config yet. A setting that is newer than the saved config counts
    as having had its default. Where memory ran out, both the micro-batch that the run began with
    and the one that it used since are its own.

    Raises:
        ConfigError: the saved config cannot be read, or names a class that is no more.
    """
    saved = Path(folder) / CONFIG
    if not saved.is_file():
        return {}
    now: dict[str, Any] = without_live(to_plain(cfg))
    before = read_config(saved, known={*targets(now)})  # what is to run may name itself
    found = diff_configs(before, OmegaConf.create(now))
    record = read_record(folder)
    used = record.micro_batch_size if record else None
    return {
        key: pair
        for key, pair in found.items()
        if is_measured(key) and not (key.endswith(f".{MICRO_BATCH}") and pair[1] == used)
    }


def is_measured(key: str) -> bool:
    """Whether the value at a dotted key can change what a run measures."""
    return not any(fnmatchcase(key, pattern) for pattern in RUN_ONLY_KEYS)


def check_same_config(cfg: DictConfig, folder: str | Path) -> None:
    """Refuse to mix two experiments in one run folder.

    Raises:
        ConfigError: the folder holds a run of another config; the keys that differ are named. Or
            it holds a run without a config to compare.
    """
    _check_there(Path(folder))
    changes = config_changes(cfg, folder)
    if not changes:
        return
    causes = _causes(cfg, changes)
    shown = [f"{key} (there {changes[key][0]!r}, now {changes[key][1]!r})" for key in causes]
    if len(causes) > _SHOWN:
        shown[_SHOWN:] = [f"{len(causes) - _SHOWN} more keys"]
    if len(changes) > len(causes):
        shown.append(f"{len(changes) - len(causes)} keys that follow from others")
    raise ConfigError(
        f"{folder} holds a run whose config differs in {', '.join(shown)}. Remove or rename that "
        "folder, or give train.output_dir=... to keep both runs."
    )


def _check_there(folder: Path) -> None:
    """Refuse to go on with a run that nothing tells the config of."""
    if (folder / CONFIG).is_file() or not has_checkpoint(folder, resume=True):
        return
    source = folder / CONFIG_SOURCE
    rename = f"{source.name} beside it does as well: rename it. " if source.is_file() else ""
    raise ConfigError(
        f"{folder} holds a run and no {CONFIG}, so nothing tells whether it was trained with this "
        f"config. Put that file back. {rename}Or start another run from its weights: "
        "train.init_checkpoint=CHECKPOINT train.output_dir=FOLDER."
    )


def _causes(cfg: DictConfig, changes: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """The changed keys that have a value of their own; if there is none, those that are written."""
    text = flatten(written(cfg))
    own = [
        key
        for key, (_, new) in changes.items()
        if new == MISSING or (key in text and "${" not in str(text[key]))
    ]
    return own or [key for key in changes if key in text] or list(changes)
