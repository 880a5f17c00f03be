"""The notes that a study wants from every run at its start, written from the run's record."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from labbook.config.differences import show_differences
from labbook.config.experiment import verdict
from labbook.config.lineage import Family
from labbook.config.load import ConfigError, diff_configs, load_config, to_plain
from labbook.config.signatures import MISSING
from labbook.config.trees import below, leaves, select, value_text
from labbook.notes.invocation import Invocation, parse_command, shell_text
from runfolder.files import write_text
from runfolder.records import RunRecord, read_record
from runfolder.run import read_run

logger = logging.getLogger(__name__)

DIFF = "diff.txt"
START_NOTES = (
    "experiment_hypothesis.txt",
    "modification_details.txt",
    "training_command.txt",
    "code_changes_summary.txt",
)


def write_start_notes(folder: str | Path) -> None:
    """Write ``diff.txt`` and :data:`START_NOTES` into a run folder.

    ``run.json`` and ``config.yaml`` are there already. Nothing that goes wrong here ends the run.
    """
    folder = Path(folder)
    try:
        record, cfg = read_record(folder), OmegaConf.load(folder / "config.yaml")
        if record is None or not isinstance(cfg, DictConfig):
            raise ValueError("there is no run.json, or config.yaml holds no sections.")
        called = parse_command(record.command)
        parent, place = find_parent(cfg, folder, called)
        write_text(folder / DIFF, difference_text(cfg, folder, called))
        texts = (
            hypothesis_text(cfg),
            modification_text(cfg, parent, place, called),
            command_text(record, folder),
            code_text(record),
        )
        for name, text in zip(START_NOTES, texts, strict=True):
            write_text(folder / name, text)
    except Exception as error:  # notes are no reason to lose a run
        logger.warning("The notes in %s are not complete: %s", folder, error)


def hypothesis_text(cfg: DictConfig) -> str:
    """What the experiment asks, as it declares itself."""
    declared = cfg.get("experiment") or {}
    targets = declared.get("targets") or {}
    wanted = [verdict(name, None, value).partition(":")[0] for name, value in targets.items()]
    lines = [
        f"Experiment: {declared.get('name', 'not declared')}",
        f"Study: {declared.get('study', 'none')}",
        f"Changes: {declared.get('parent') or 'nothing; it is a baseline'}",
        f"Factor: {_moved(declared)}",
        f"Seed: {(cfg.get('train') or {}).get('seed')}",
        "",
        f"Hypothesis: {declared.get('hypothesis') or 'none was declared.'}",
        f"Targets (AP in percent, on valid): {', '.join(wanted) or 'none were declared.'}",
    ]
    return _page(lines)


def modification_text(
    cfg: DictConfig, parent: DictConfig | None, place: str, called: Invocation
) -> str:
    """What the experiment moves, from which value to which."""
    factors = list((cfg.get("experiment") or {}).get("factors") or [])
    lines = [f"Against {place}:" if parent is not None else place]
    lines += [f"  {line}" for line in _moves(cfg, parent, factors)] if parent is not None else []
    lines += ["", "Overrides on the command line:"]
    lines += [f"  {word}" for word in called.overrides] or ["  none"]
    return _page([*lines, "", f"All that follows from it: {DIFF}"])


def command_text(record: RunRecord, folder: Path) -> str:
    """How the run was started, and how to start it again."""
    lines = [
        "From the project's root folder:",
        f"  {shell_text(record)}",
        "",
        "After an interruption: the same command, with --resume behind the config file.",
        f"To repeat it in a new folder: python tools/lab.py reproduce {folder}",
    ]
    if any(attempt["command"] != record.command for attempt in record.earlier):
        lines += ["", "Earlier attempts:"]
        lines += [f"  {a['start']}: {shlex.join(a['command'])}" for a in record.earlier]
    return _page(lines)


def code_text(record: RunRecord) -> str:
    """Which code ran: the commit, and what was changed since."""
    lines = list(_code_lines(record.code))
    others = [a for a in record.earlier if _identity(a["code"]) != _identity(record.code)]
    for attempt in others:
        lines += ["", f"The attempt of {attempt['start']} ran OTHER code:"]
        lines += [f"  {line}" for line in _code_lines(attempt["code"])]
    if others:
        lines += ["Patches of earlier attempts are code.patch.1 and so on, in their order."]
    return _page(lines)


def difference_text(cfg: DictConfig, folder: Path, called: Invocation) -> str:
    """The resolved difference to parent and baseline: from the study's configs or, of a config of
    no study, from the run folders beside ``folder``.
    """
    found = called.study()
    try:
        if found is not None:
            study, name, root = found
            return _page([show_differences(study, name, root, called.overrides)[0]])
        parent, place = find_parent(cfg, folder, called)
    except ConfigError as error:
        return _page([f"The parent's config cannot be read: {error}"])
    if parent is None:
        return _page([place])
    changed = diff_configs(parent, cfg)
    rows = [
        f"  {key}  {value_text(old)} -> {value_text(new)}"
        for key, (old, new) in sorted(changed.items())
        if not below(key, ("experiment", "train.output_dir"))
    ]
    return _page([f"Against {place}:", *(rows or ["  no difference"])])


def ancestor_names(cfg: DictConfig, folder: Path, called: Invocation) -> list[str]:
    """Names of the experiment's parent, its parent, ... and at last the baseline, as far as known.

    From the study's configs or, of a config of no study, from the run folders beside ``folder``.
    """
    found = called.study()
    if found is not None:
        study, _, root = found
        try:
            line = Family(study, root, called.overrides).ancestors(cfg)
            return [ancestor.experiment.name for ancestor in line]
        except ConfigError as error:
            logger.warning("The baseline is looked for among the run folders: %s", error)
    names: list[str] = []
    declared: Any = cfg.get("experiment") or {}
    while (name := declared.get("parent")) and name not in names:
        names.append(name)
        beside = folder.parent / name
        declared = read_run(beside).experiment if beside.is_dir() else {}
    return names


def find_parent(cfg: DictConfig, folder: Path, called: Invocation) -> tuple[DictConfig | None, str]:
    """The config of the experiment's parent and where it comes from, or why there is none.

    Args:
        cfg: of the run.
        folder: the run folder; the parent's may lie beside it.
        called: names the config file, whose study holds the parent's.
    """
    name = (cfg.get("experiment") or {}).get("parent")
    if not name:
        return None, "It is a baseline: it has no parent to differ from."
    found = called.study()
    if found is not None:
        study, _, root = found
        try:
            parent = Family(study, root, called.overrides).parent(cfg)
            return parent, f"its parent {name} ({study.config_folder})"
        except ConfigError as error:
            logger.warning("The parent %s is looked for among the run folders: %s", name, error)
    beside = folder.parent / name / "config.yaml"
    if beside.is_file():
        return load_config(beside), f"its parent {name} (run folder {name})"
    return None, f"The parent {name} was not found, neither as a config nor as a run folder."


def _moved(declared: Mapping[str, Any]) -> str:
    factors = list(declared.get("factors") or [])
    level = declared.get("level", "")
    bundle = "bundle: " if len(factors) > 1 else ""
    return f"{bundle}{', '.join(factors)} = {level}" if factors else f"none ({level})"


def _moves(cfg: DictConfig, parent: DictConfig, factors: list[str]) -> Iterator[str]:
    """A line for each value at or below a factor that differs."""
    old, new = to_plain(parent), to_plain(cfg)
    for factor in factors:
        before, after = leaves(select(old, factor), factor), leaves(select(new, factor), factor)
        for key in {**before, **after}:
            pair = before.get(key, MISSING), after.get(key, MISSING)
            if pair[0] != pair[1]:
                yield f"{key}: {value_text(pair[0])} -> {value_text(pair[1])}"


def _code_lines(code: Mapping[str, Any]) -> Iterator[str]:
    commit, patch = code.get("commit"), code.get("patch") or {}
    yield (
        f"Commit: {commit}" if commit else "The code is in no git checkout: its version is unknown."
    )
    if commit and not patch:
        yield "No uncommitted changes."
    if patch.get("file"):
        yield f"Uncommitted changes, saved in {patch['file']} (SHA-256 {patch['sha256']}):"
    yield from (f"  {name}" for name in patch.get("files", ()))
    yield from (f"  {name} (new, not in the patch)" for name in patch.get("left_out", ()))
    if patch.get("note"):
        yield patch["note"]


def _identity(code: Mapping[str, Any]) -> tuple[Any, Any]:
    return code.get("commit"), (code.get("patch") or {}).get("sha256")


def _page(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"
