"""What a run measures, as a key: which finished runs stand for the experiments of today.

There is no data base: the ledger is what the run folders say. A run's entry, ``ledger.json``, has
the checksum of its config (without what only says how it is carried out), its seed and the
checksum of its data; the three make its key. The code's version is kept beside the key: a finished
run of older code counts, is marked, and is repeated on request only.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from labbook.config.load import ConfigError, to_plain
from labbook.config.plain import without_live
from labbook.config.resume import check_same_config, is_measured
from labbook.config.signatures import locate
from labbook.config.trees import flatten
from runfolder.files import write_json
from runfolder.locks import lock_run
from runfolder.names import LEDGER
from runfolder.records import RunRecord, died_early, read_record, read_results, run_status
from runfolder.run import with_micro_batch

logger = logging.getLogger(__name__)

SEED = "train.seed"
SHORT = 7
"""Characters of a checksum or commit that are shown."""


def entry_of(
    cfg: DictConfig, data: str | None = None, micro_batch: int | None = None
) -> dict[str, Any]:
    """The entry of a run of ``cfg`` on the data with the checksum ``data``.

    ``micro_batch`` is what was used in the place of the config's, as ``run.json`` has it.

    Returns:
        ``config``: SHA-256 of the resolved config without its seed and its run-only keys;
        ``seed``; ``data``, which is known when the run has ended; ``key``: SHA-256 of the three.

    Raises:
        ConfigError: an interpolation cannot be resolved.
    """
    plain = without_live(to_plain(cfg))
    leaves = flatten(with_micro_batch(plain, micro_batch) if micro_batch else plain)
    measured = {key: leaves[key] for key in sorted(leaves) if is_measured(key) and key != SEED}
    config, seed = _sha256(measured), leaves.get(SEED)
    return {"key": _sha256([config, seed, data]), "config": config, "seed": seed, "data": data}


def write_entry(cfg: DictConfig, folder: Path) -> None:
    """Write ``ledger.json`` beside the config that ``folder`` was trained with."""
    record = read_record(folder)
    used = record.micro_batch_size if record else None
    write_json(folder / LEDGER, entry_of(cfg, _data_of(folder), used))


def check_same_data(cfg: DictConfig, folder: Path, root: Path) -> None:
    """Refuse to let a finished run on other data stand for ``cfg``.

    Nothing is said where the checksum of either is not known, as with data that are elsewhere.

    Raises:
        ConfigError: the data of today are not those of the run.
    """
    then = _data_of(folder)
    now = data_fingerprint(to_plain(cfg).get("dataset") or {}, root) if then else None
    if then and now and then != now:
        raise ConfigError(
            f"{folder} holds a finished run on other data: their checksum was {then[:SHORT]} and "
            f"is now {now[:SHORT]} in {cfg.dataset.root}. Restore the data, rename that folder, "
            "or give train.output_dir=... to keep both runs."
        )


def data_fingerprint(dataset: Mapping[str, Any], root: Path) -> str | None:
    """Checksum of the data that a config's ``dataset`` section names.

    The section's own class computes it, as in training. Data that are not there are not generated
    for the question.

    Args:
        dataset: resolved, with ``_target_`` and ``root``; {} of a config without the section.
        root: what a relative ``dataset.root`` is relative to.

    Returns:
        None if the data are not there or cannot be read.
    """
    folder = root / str(dataset.get("root", ""))
    if not dataset.get("root") or not folder.is_dir():
        return None
    return _fingerprint(json.dumps({**dataset, "root": str(folder)}))


@cache  # the experiments of a study share their data
def _fingerprint(dataset: str) -> str | None:
    arguments = json.loads(dataset)
    arguments.pop("generate", None)  # what is there is asked; nothing is made
    kind = locate(arguments.pop("_target_"))
    if not hasattr(kind, "fingerprint"):
        return None
    logging.disable(logging.INFO)  # it reports on the data, which training has done
    try:
        return kind(**arguments).fingerprint()
    except Exception as error:  # training says what is wrong with the data; here it is unknown
        logger.warning(f"The data in {arguments['root']} cannot be compared: {error}")
        return None
    finally:
        logging.disable(logging.NOTSET)


def older_code(record: RunRecord | None, code: Mapping[str, Any]) -> str | None:
    """The commit, shortened, that a run was started with if it is not the one of today's ``code``.

    That is what :func:`runfolder.provenance.code_version` returns.
    """
    then = record.code.get("commit") if record else None
    now = code.get("commit")
    return then[:SHORT] if then and now and then != now else None


def make_way(cfg: DictConfig, folder: Path) -> str | None:
    """Set aside a run of another config that died before its first checkpoint.

    So the corrected command is not blocked by the mistaken one.

    Returns:
        A sentence that says where that run is now; None if the folder is free for ``cfg``.

    Raises:
        ConfigError: the folder holds a run of another config that has come further.
        RunIsRunningError: a process has started there meanwhile.
    """
    try:
        check_same_config(cfg, folder)
        return None
    except ConfigError:
        if not died_early(folder):
            raise
        with lock_run(folder):
            target = move_aside(folder, run_status(folder))
    return f"what died there before its first checkpoint, under another config, is now {target}."


def move_aside(folder: Path, mark: str) -> Path:
    """Rename a run folder to ``older/<name>_<mark>`` beside it, where no table looks for it.

    Returns:
        Where it is now; a number is added if that name is taken.
    """
    older = folder.parent / "older"
    older.mkdir(exist_ok=True)
    target, number = older / f"{folder.name}_{mark}", 1
    while target.exists():
        number += 1
        target = older / f"{folder.name}_{mark}_{number}"
    return folder.rename(target)


def _data_of(folder: Path) -> str | None:
    """Checksum of the data of a run that has ended."""
    return (read_results(folder) or {}).get("data_fingerprint")


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
