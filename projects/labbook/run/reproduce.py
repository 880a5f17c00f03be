"""What has changed since a run was made, and the command that makes it again."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labbook.config.load import ConfigError, load_config
from labbook.config.overrides import assignment
from labbook.config.resume import config_changes
from labbook.config.signatures import nearest
from labbook.config.trees import value_text
from labbook.notes.invocation import parse_command
from labbook.run.ledger import data_fingerprint
from labbook.run.processes import TRAIN_SCRIPT, Processes
from runfolder.patches import PATCH, uncommitted_patch
from runfolder.provenance import code_version, devices, environment
from runfolder.records import RunRecord
from runfolder.run import Run, read_run

REPEAT = "_repeat"
_SHORT = 12
_SHOWN = 8


@dataclass(frozen=True)
class Check:
    """One thing that a result depends on, then and today."""

    what: str
    is_same: bool | None
    """None if it cannot be told."""
    detail: str


def find_run(name: str, root: Path, debug: bool = False) -> Run:
    """The run in the folder ``name``, or of that name in the folder of results.

    Args:
        name: a path, or the name of a run folder.
        root: the project's root folder.
        debug: look among the toy-size runs.

    Raises:
        ValueError: there is none, or it is damaged; the nearest name is said.
    """
    results = root / "work_dirs" / ("debug" if debug else "")
    for folder in (Path(name), root / name, results / name):
        if (folder / "run.json").is_file() and (folder / "config.yaml").is_file():
            return read_run(folder)
    known = [path.parent.name for path in results.glob("*/run.json")]
    raise ValueError(
        f"There is no run folder '{name}' with run.json and config.yaml, neither here nor in "
        f"{results}.{nearest(Path(name).name, known)}"
    )


def checks(run: Run, root: Path) -> list[Check]:
    """Everything that is recorded of a run beside what it would be today.

    Args:
        run: with a record.
        root: the project's root folder.
    """
    record = run.record
    if record is None:
        raise ValueError(f"{run.folder} has no run.json, so nothing of it can be compared.")
    return [
        _commit(record),
        _patch(record),
        _packages(record.environment),
        _data(run, root),
        _config(run, root),
        _devices(record.devices),
    ]


def repeat_command(run: Run, root: Path) -> tuple[list[str], Path]:
    """The command that trains from the run's saved config into a new folder, and that folder.

    It runs in the project's root folder, on as many processes as the run did.
    """
    number = 1
    while (folder := _beside(run.folder, number)).exists():
        number += 1
    record = run.record
    called = parse_command(record.command if record else [])
    launcher = Processes(per_node=record.processes if record else 1).launcher()
    config = _relative(run.folder / "config.yaml", root)
    script = [TRAIN_SCRIPT, "--config-file", str(config), *called.launch]
    return [sys.executable, *launcher, *script, _output(_relative(folder, root))], folder


def compare_results(run: Run, again: Run) -> list[str]:
    """A line for each number of ``results.json`` that a repetition should give again."""
    names = [(split, key) for split in ("valid", "test") for key in ("bbox/AP50", "bbox/AP")]
    rows = [(f"{s} {key}", run.score(s, key), again.score(s, key)) for s, key in names]
    rows.append(("final loss", run.results.get("final_loss"), again.results.get("final_loss")))
    return [f"{name:16} {old} then, {new} now{_difference(old, new)}" for name, old, new in rows]


def _commit(record: RunRecord) -> Check:
    then, now = record.code.get("commit"), code_version()["commit"]
    if then is None or now is None:
        return Check("commit", None, f"{_known(then)} then, {_known(now)} now")
    if then == now:
        return Check("commit", True, then[:_SHORT])
    return Check("commit", False, f"{then[:_SHORT]} then, {now[:_SHORT]} now: git checkout {then}")


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


def _data(run: Run, root: Path) -> Check:
    then = run.record.data_fingerprint if run.record else None
    then = then or run.results.get("data_fingerprint")
    if then is None:
        return Check("data", None, "the run ended before its data were known")
    try:
        now = data_fingerprint(run.config.get("dataset") or {}, root)
    except ConfigError as error:
        return Check("data", None, str(error))
    if now is None:
        return Check("data", None, "they are not there, or cannot be read here")
    return _check("data", then[:_SHORT], now[:_SHORT])


def _config(run: Run, root: Path) -> Check:
    called = parse_command(run.record.command if run.record else [])
    if called.config_file is None:
        return Check("config", None, "the command names no config file")
    try:
        cfg = load_config(root / called.config_file, called.overrides)
        changed = config_changes(cfg, run.folder)
    except ConfigError as error:
        return Check("config", None, str(error))
    rows = [f"{k} {value_text(old)} -> {value_text(new)}" for k, (old, new) in changed.items()]
    return Check("config", not rows, _listing(rows) or str(called.config_file))


def _devices(then: Mapping[str, Any]) -> Check:
    if not then:
        return Check("device", None, "not recorded")
    return _check("device", _device(then), _device(devices()))


def _device(found: Mapping[str, Any]) -> str:
    return ", ".join(found.get("gpus") or []) or found.get("cpu") or "unknown"


def _check(what: str, then: str, now: str) -> Check:
    return Check(what, then == now, then if then == now else f"{then} then, {now} now")


def _output(folder: Path) -> str:
    """The override for the run folder, in quotes only if it needs them."""
    text = str(folder)
    is_plain = re.fullmatch(r"[\w./-]+", text)
    return f"train.output_dir={text}" if is_plain else assignment("train.output_dir", text)


def _beside(folder: Path, number: int) -> Path:
    return folder.with_name(f"{folder.name}{REPEAT}{number if number > 1 else ''}")


def _relative(path: Path, root: Path) -> Path:
    """As it is named in the project's root folder."""
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root) if path.is_relative_to(root) else path


def _changes_of(patch: Mapping[str, Any]) -> str:
    if not patch:
        return "no uncommitted changes"
    checksum = patch.get("sha256")
    return f"uncommitted changes {checksum[:_SHORT] if checksum else '(not saved)'}"


def _listing(rows: list[str]) -> str:
    shown = "; ".join(rows[:_SHOWN])
    return f"{shown}; {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else shown


def _known(commit: str | None) -> str:
    return commit[:_SHORT] if commit else "unknown"


def _difference(old: float | None, new: float | None) -> str:
    if old == new:
        return " (the same)"
    return "" if old is None or new is None else f" ({new - old:+.3g})"
