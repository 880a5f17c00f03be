"""Refuse an experiment that differs from its parent in more than what it declares.

Both configs are compared as written, with their interpolations, and as resolved:

=============== ===================================================================================
declared        written differently, at or below a key that ``experiment.factors`` lists
derived         written alike, as an interpolation whose value follows a change elsewhere
undeclared      written differently and not listed: refused
=============== ===================================================================================

What an experiment says about itself, and where its run folder is, are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig

from labbook.config.lineage import Family
from labbook.config.load import ConfigError, diff_configs, to_plain
from labbook.config.studies import Study
from labbook.config.trees import below, flatten, is_key, nearest_key, select, value_text, written

Kind = Literal["declared", "derived", "undeclared"]
NOT_COMPARED = ("experiment", "train.output_dir")


@dataclass(frozen=True)
class Change:
    """A value that differs between two configs, or the text of one that does not."""

    key: str
    old: Any
    new: Any
    kind: Kind
    source: str = ""
    """Of a derived value: the key that holds the interpolation, itself or a node above it."""
    text: str = ""
    """Of a derived value: the interpolation."""
    moved: bool = True
    """False where only the text differs: the value is the same today, but follows no more."""


def changes(old: DictConfig, new: DictConfig, factors: Sequence[str]) -> list[Change]:
    """Every difference from ``old`` to ``new``, in the order of keys."""
    texts, values = diff_configs(old, new, resolved=False), diff_configs(old, new)
    text = flatten(written(new))
    found = []
    for key in sorted({**texts, **values}):
        if below(key, NOT_COMPARED):
            continue
        if key in texts:
            kind: Kind = "declared" if below(key, factors) else "undeclared"
            shown = values.get(key, texts[key])
            found.append(Change(key, *shown, kind, moved=key in values))
        else:
            source = next((node for node in text if below(key, [node])), key)
            followed = str(text.get(source, ""))
            found.append(Change(key, *values[key], "derived", source, followed))
    return found


def problems(cfg: DictConfig, parent: DictConfig | None) -> list[str]:
    """What is wrong with the declaration of ``cfg``, in sentences without its name."""
    factors = list(cfg.experiment.factors)
    if parent is None:
        if not factors:
            return []
        return [f"it declares the factors {', '.join(factors)} but no experiment.parent."]
    if not factors:
        return [
            f"it declares no factor, so it would repeat its parent {parent.experiment.name}. List "
            "in experiment.factors what it moves; for repetitions change train.seed."
        ]
    found = changes(parent, cfg, factors)
    undeclared = [change for change in found if change.kind == "undeclared"]
    sentences = [_undeclared_sentence(undeclared, factors)] if undeclared else []
    moved = [change.key for change in found if change.kind == "declared" and change.moved]
    for factor in factors:
        if not any(below(key, [factor]) for key in moved):
            sentences.append(_idle_sentence(factor, cfg, parent))
    return sentences


def check_declared(cfg: DictConfig, parent: DictConfig | None) -> None:
    """Refuse a config that differs from its parent elsewhere than it declares.

    Args:
        cfg: the experiment.
        parent: the config that ``experiment.parent`` names, with the same overrides; None for a
            baseline.

    Raises:
        ConfigError: it moves a key that is no factor, or a factor does not move.
    """
    found = problems(cfg, parent)
    if found:
        raise ConfigError(f"{cfg.experiment.name}: {' Also, '.join(found)}")


def check_study(family: Family, config_names: Iterable[str]) -> None:
    """Check the declarations of these experiments of a study; see :func:`check_declared`.

    Raises:
        ConfigError: one or more are wrong, a line for each.
    """
    found = study_problems(family, config_names)
    if found:
        raise ConfigError("\n".join(found.values()))


def study_problems(family: Family, config_names: Iterable[str]) -> dict[str, str]:
    """By config name what is wrong: its loading, its name or its declaration."""
    found = {}
    for name in config_names:
        try:
            cfg = family.load(name)
            if "experiment" in cfg:  # else it declares nothing, as any other LazyConfig
                _check_name(cfg, family.study, name)
                check_declared(cfg, family.parent(cfg))
        except ConfigError as error:
            found[name] = str(error)
    return found


def _check_name(cfg: DictConfig, study: Study, config_name: str) -> None:
    declared, wanted = cfg.experiment, study.run_name(config_name)
    if (declared.name, declared.study) != (wanted, study.name):
        raise ConfigError(
            f"{config_name}.py declares itself as {declared.name} of the study {declared.study}; "
            f"in {study.config_folder} it is {wanted} of the study {study.name}. Correct "
            "experiment.name and experiment.study, or move the file."
        )


def _undeclared_sentence(undeclared: Sequence[Change], factors: Sequence[str]) -> str:
    shown = [
        f"{change.key} ({value_text(change.old)} there, {value_text(change.new)} here"
        + ("" if change.moved else ": the same value today, but it follows no more")
        + ")"
        for change in undeclared
    ]
    return (
        f"it differs from its parent in {', '.join(shown)}, which its factors "
        f"({', '.join(factors)}) do not cover. Leave that as the parent has it, or list it in "
        "experiment.factors, which makes the experiment a bundle."
    )


def _idle_sentence(factor: str, cfg: DictConfig, parent: DictConfig) -> str:
    plain = to_plain(cfg)
    if not is_key(plain, factor):
        return f"its factor {factor} is no key of the config.{nearest_key(plain, factor)}"
    value = value_text(select(plain, factor))
    return (
        f"its factor {factor} is not moved: it is {value} as in its parent "
        f"{parent.experiment.name}. Move it, or take it off experiment.factors; a key=value of "
        "the command line holds for both."
    )
