"""What has changed since a run was made, and the command that makes it again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labbook.config.load import ConfigError, load_config
from labbook.config.overrides import assignment
from labbook.config.resume import config_changes
from labbook.config.signatures import nearest
from labbook.config.studies import CONFIGS, find_studies
from labbook.config.trees import value_text
from labbook.results.runs import on_other_data, run_folder
from labbook.run.ledger import SHORT, data_fingerprint
from labbook.run.processes import Processes
from runfolder.names import AP, AP50, CONFIG, MICRO_BATCH, PATCH, RECORD, SPLITS
from runfolder.patches import uncommitted_patch
from runfolder.provenance import code_version, devices, environment
from runfolder.records import RunRecord
from runfolder.run import Run, read_run
from runfolder.trust import TrustError, check_targets

REPEAT = "_repeat"
_SHOWN = 8


class Check(NamedTuple):
    """One thing that a result depends on, then and today."""

    what: str
    is_same: bool | None
    """None if it cannot be told."""
    detail: str


def find_run(name: str, root: Path, debug: bool = False) -> Run:
    """The run in the folder ``name``, or called so in a table of a study (``debug``: at toy size).

    Tables call a run by the name of its folder, or by its experiment's with the folder in brackets.

    Raises:
        ValueError: there is none, or it is damaged; the nearest name is said.
    """
    in_brackets = re.fullmatch(r".+ \((.+)\)", name)
    name = in_brackets[1] if in_brackets else name
    studies = [study for study in find_studies(root).values() if study.is_debug is debug]
    own = {"work_dirs/debug" if debug else "work_dirs", *(one.work_folder for one in studies)}
    others = (other.work_folder for study in studies for other in on_other_data(study, root))
    places = [*sorted(own), *dict.fromkeys(others)]
    folder = run_folder(name, root, places)
    if folder is not None and (folder / RECORD).is_file():
        return read_run(folder)
    known = [path.parent.name for place in places for path in (root / place).glob(f"*/{RECORD}")]
    raise ValueError(
        f"There is no run folder '{name}' with {RECORD} and {CONFIG}, neither here nor in "
        f"{' or '.join(places)}.{nearest(Path(name).name, known)}"
    )


def checks(run: Run, root: Path) -> list[Check]:
    """Everything that is recorded of a run, which has a record, beside what it would be today."""
    record = run.record
    if record is None:
        raise ValueError(f"{run.folder} has no {RECORD}, so nothing of it can be compared.")
    return [
        _commit(record),
        _patch(record),
        _packages(record.environment),
        _data(run, record, root),
        _config(run, record, root),
        _compared("device", _device(record.devices), _device(devices())),
    ]


def repeat_command(
    run: Run, root: Path, train_script: str, trusted: Sequence[str] = ()
) -> tuple[list[str], Path]:
    """The command that trains from the run's saved config into a new folder, and that folder.

    It runs in the project's root folder, on as many processes as the run did, from the start with
    the micro-batch that it has come down to, and trusts the modules ``trusted``.
    """
    number, folder = 1, run.folder.with_name(f"{run.folder.name}{REPEAT}")
    while folder.exists():
        number += 1
        folder = run.folder.with_name(f"{run.folder.name}{REPEAT}{number}")
    python = Processes(per_node=run.record.processes if run.record else 1).python()
    config, output = _relative(run.folder / CONFIG, root), str(_relative(folder, root))
    is_plain = re.fullmatch(r"[\w./-]+", output)  # no quotes where none are needed
    override = f"train.output_dir={output}" if is_plain else assignment("train.output_dir", output)
    options = [word for module in trusted for word in ("--trust", module)]
    used = run.lowered_micro_batch
    overrides = [override, f"train.{MICRO_BATCH}={used}"] if used else [override]
    return [*python, train_script, *options, "--config-file", str(config), *overrides], folder


def compare_results(run: Run, again: Run) -> list[str]:
    """A line for each number of ``results.json`` that a repetition should give again."""
    keys = [(split, key) for split in SPLITS for key in (AP50, AP)]
    rows = [(f"{s} {key}", run.score(s, key), again.score(s, key)) for s, key in keys]
    rows.append(("final loss", run.results.get("final_loss"), again.results.get("final_loss")))
    return [f"{name:16} {old} then, {new} now{_difference(old, new)}" for name, old, new in rows]


def _commit(record: RunRecord) -> Check:
    then, now = record.code.get("commit"), code_version().get("commit")
    check = _compared("commit", (then or "")[:SHORT], (now or "")[:SHORT])
    if check.is_same is False:
        return check._replace(detail=f"{check.detail}: git checkout {then}")
    return check


def _patch(record: RunRecord) -> Check:
    if record.code.get("commit") is None:
        return Check("patch", None, "the run's code was in no git checkout")
    patch = uncommitted_patch()
    then, now = record.code.get("patch") or {}, patch.describe() if patch else {}
    if then.get("sha256") == now.get("sha256"):
        missing = bool(then) and then.get("sha256") is None
        return Check("patch", None if missing else True, then.get("note") or _changes_of(then))
    way = f": git apply {PATCH} of the run folder" if then.get("file") else ""
    return Check("patch", False, f"{_changes_of(then)} then, {_changes_of(now)} now{way}")


def _packages(then: Mapping[str, Any]) -> Check:
    now = environment()
    changed = [f"{k} {then[k]} -> {now[k]}" for k in then if k in now and then[k] != now[k]]
    return Check("packages", not changed, _listing(changed) or f"{len(then)} versions")


def _data(run: Run, record: RunRecord, root: Path) -> Check:
    then = record.data_fingerprint or run.results.get("data_fingerprint")
    try:
        check_targets(dataset := run.config.get("dataset") or {}, "dataset")
        now = data_fingerprint(dataset, root)
    except (ConfigError, TrustError) as error:
        return Check("data", None, str(error))
    return _compared("data", (then or "")[:SHORT], (now or "")[:SHORT])


def _config(run: Run, record: RunRecord, root: Path) -> Check:
    if record.config_file is None:
        return Check("config", None, f"{RECORD} names no config file")
    path = (root / record.config_file).resolve()
    if path.suffix == ".py" and not path.is_relative_to((root / CONFIGS).resolve()):
        return Check(
            "config", None, f"{record.config_file} is a program outside of {CONFIGS}/, so not run"
        )
    try:
        cfg = load_config(root / record.config_file, record.overrides or (), checks_overrides=True)
        changed = config_changes(cfg, run.folder)
    except ConfigError as error:
        return Check("config", None, str(error))
    rows = [f"{k} {value_text(old)} -> {value_text(new)}" for k, (old, new) in changed.items()]
    return Check("config", not rows, _listing(rows) or record.config_file)


def _compared(what: str, then: str, now: str) -> Check:
    """A check of two texts; an empty one is not known."""
    if then and now:
        return Check(what, then == now, then if then == now else f"{then} then, {now} now")
    return Check(what, None, f"{then or 'unknown'} then, {now or 'unknown'} now")


def _device(found: Mapping[str, Any]) -> str:
    return ", ".join(found.get("gpus") or []) or found.get("cpu") or ""


def _changes_of(patch: Mapping[str, Any]) -> str:
    if not patch:
        return "no uncommitted changes"
    checksum = patch.get("sha256")
    return f"uncommitted changes {checksum[:SHORT] if checksum else '(not saved)'}"


def _relative(path: Path, root: Path) -> Path:
    """As it is named in the project's root folder."""
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root) if path.is_relative_to(root) else path


def _listing(rows: Sequence[str]) -> str:
    more = [f"{len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
    return "; ".join([*rows[:_SHOWN], *more])


def _difference(old: float | None, new: float | None) -> str:
    if old == new:
        return " (the same)"
    return "" if old is None or new is None else f" ({new - old:+.3g})"
