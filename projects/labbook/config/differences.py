"""The difference of an experiment to its parent and to its baseline, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from omegaconf import DictConfig
from tabulate import tabulate

from labbook.config.experiment import describe_change
from labbook.config.guard import Change, changes, problems
from labbook.config.lineage import Family
from labbook.config.trees import value_text

_HEADINGS = {
    "declared": "declared",
    "derived": "derived, through an interpolation",
    "undeclared": "NOT DECLARED",
}


def show_differences(family: Family, name: str) -> tuple[str, bool]:
    """The resolved differences of an experiment as text, and whether it declares them all.

    Raises:
        ConfigError: a config does not load, or the parent is unknown.
    """
    cfg = family.load(name)
    ancestors = family.ancestors(cfg)
    wrong = problems(cfg, ancestors[0] if ancestors else None)
    lines = [differences_text(cfg, ancestors), *(f"\nNot allowed: {w}" for w in wrong)]
    return "\n".join(lines), not wrong


def differences_text(cfg: DictConfig, ancestors: Sequence[DictConfig]) -> str:
    """The resolved differences of an experiment to its ancestors: parent first, baseline last."""
    declared = cfg.experiment
    lines = [f"{declared.name} ({describe_change(declared)})"]
    lines += [f"Hypothesis: {declared.hypothesis}"] if declared.hypothesis else []
    if not ancestors:
        return "\n".join([*lines, "It is a baseline: it has no parent to differ from."])
    is_child = len(ancestors) == 1
    lines += _comparison("parent and baseline" if is_child else "parent", ancestors[0], [cfg])
    if not is_child:
        lines += _comparison("baseline", ancestors[-1], [cfg, *ancestors])
    return "\n".join(lines)


def _comparison(role: str, other: DictConfig, line: Sequence[DictConfig]) -> Iterator[str]:
    """Of the first of a line of experiments with an ancestor; the factors of all are declared."""
    yield f"\nAgainst its {role} {other.experiment.name}:"
    factors = [factor for step in line for factor in step.experiment.factors]
    found = changes(other, line[0], factors)
    if not found:
        yield "  no difference"
    for kind, heading in _HEADINGS.items():
        if rows := list(_rows([change for change in found if change.kind == kind])):
            yield f"  {heading}"
            table = tabulate(rows, tablefmt="plain", disable_numparse=True)
            yield from (f"    {line}" for line in table.splitlines())


def _rows(found: Sequence[Change]) -> Iterator[tuple[str, str]]:
    """Key and text; the values below one interpolated section share a row."""
    for source in dict.fromkeys(change.source or change.key for change in found):
        group = [change for change in found if (change.source or change.key) == source]
        first = group[0]
        if first.key == source:
            remark = first.text if first.moved else "(the same value, which follows no more)"
            yield source, f"{value_text(first.old)} -> {value_text(first.new)}   {remark}".rstrip()
        else:
            yield source, f"{len(group)} value{'s' * (len(group) > 1)} of {first.text}"
