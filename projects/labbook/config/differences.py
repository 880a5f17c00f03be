"""The difference of an experiment to its parent and to its baseline, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig

from labbook.config.experiment import describe_change
from labbook.config.guard import Change, changes, problems
from labbook.config.lineage import Family
from labbook.config.studies import Study
from labbook.config.trees import value_text

_HEADINGS = {
    "declared": "declared",
    "derived": "derived, through an interpolation",
    "undeclared": "NOT DECLARED",
}


def show_differences(
    study: Study, config_name: str, root: Path, overrides: Sequence[str] = ()
) -> tuple[str, bool]:
    """The resolved differences of an experiment as text, and whether it declares them all.

    Args:
        study: the study of the experiment.
        config_name: name of its config file, without ``.py``.
        root: the project's root folder.
        overrides: ``key=value`` for the experiment, its parent and its baseline.

    Raises:
        ConfigError: a config does not load, or the parent is unknown.
    """
    family = Family(study, root, overrides)
    cfg = family.load(config_name)
    ancestors = family.ancestors(cfg)
    wrong = problems(cfg, ancestors[0] if ancestors else None)
    lines = [differences_text(cfg, ancestors), *(f"\nNot allowed: {w}" for w in wrong)]
    return "\n".join(lines), not wrong


def differences_text(cfg: DictConfig, ancestors: Sequence[DictConfig]) -> str:
    """The resolved differences of an experiment to its ancestors: parent first, baseline last."""
    return "\n".join([*_head(cfg), *_comparisons(cfg, ancestors)])


def _head(cfg: DictConfig) -> Iterator[str]:
    declared = cfg.experiment
    yield f"{declared.name} ({describe_change(declared)})"
    if declared.hypothesis:
        yield f"Hypothesis: {declared.hypothesis}"


def _comparisons(cfg: DictConfig, ancestors: Sequence[DictConfig]) -> Iterator[str]:
    if not ancestors:
        yield "It is a baseline: it has no parent to differ from."
        return
    parent, baseline = ancestors[0], ancestors[-1]
    roles = [("parent and baseline" if parent is baseline else "parent", parent, [cfg])]
    if parent is not baseline:
        roles.append(("baseline", baseline, [cfg, *ancestors]))
    for role, other, line in roles:
        yield f"\nAgainst its {role} {other.experiment.name}:"
        factors = [factor for step in line for factor in step.experiment.factors]
        yield from _listing(changes(other, cfg, factors))


def _listing(found: Sequence[Change]) -> Iterator[str]:
    if not found:
        yield "  no difference"
    for kind, heading in _HEADINGS.items():
        some = [change for change in found if change.kind == kind]
        rows = [*_rows(some)]
        if rows:
            yield f"  {heading}"
        width = max((len(key) for key, _ in rows), default=0)
        yield from (f"    {key:{width}}  {text}" for key, text in rows)


def _rows(found: Sequence[Change]) -> Iterator[tuple[str, str]]:
    """Key and text; the values below one interpolated section share a row."""
    for source in dict.fromkeys(change.source or change.key for change in found):
        group = [change for change in found if (change.source or change.key) == source]
        if group[0].key == source:
            yield source, _step(group[0])
        else:
            values = "1 value" if len(group) == 1 else f"{len(group)} values"
            yield source, f"{values} of {group[0].text}"


def _step(change: Change) -> str:
    step = f"{value_text(change.old)} -> {value_text(change.new)}"
    if not change.moved:
        return f"{step} (the same value, which follows no more)"
    return f"{step}   {change.text}".rstrip()
