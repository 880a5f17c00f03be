"""Write a study: a baseline that is another study's, and a config for each level of each factor.

The source's toy versions serve the new study too: ``toy(config name)`` of
``configs/debug/_SOURCE.py`` loads a file beside the source's configs, and the new configs are named
from there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from omegaconf import DictConfig

from labbook.authoring.python import assignment, code
from labbook.called import lab
from labbook.config.guard import NOT_COMPARED, study_problems
from labbook.config.lineage import Family, find_experiment
from labbook.config.load import ConfigError, to_plain
from labbook.config.overrides import each_of
from labbook.config.signatures import nearest
from labbook.config.studies import CONFIGS, DEBUG, Study, find_studies, get_study, toy_file
from labbook.config.trees import below, select, value_text, written
from runfolder.files import write_text

BASELINE = "baseline"
_EXPECTED = "Its factors change AP; write here what you expect, and why."


@dataclass(frozen=True)
class Level:
    """A value of a factor, which is a config of its own."""

    key: str
    value: Any
    """As it is written, with interpolations."""
    before: Any
    """The baseline's, resolved; ``???`` if it leaves the key to a default."""

    @property
    def name(self) -> str:
        """Of the config, as ``lr0.01`` or ``warmup_method_constant``."""
        shown = re.sub(r"[^\w.+-]+", "_", value_text(self.value)).strip("_.")[:40]
        return f"{self.key.rpartition('.')[2].strip('_')}{'_' * shown[:1].isalpha()}{shown}"

    @property
    def declared(self) -> int | float | str:
        """As the experiment declares it."""
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        return self.value if is_number else value_text(self.value)


def new_study(name: str, source: str, factors: Iterable[str], root: Path) -> list[Path]:
    """Write ``configs/NAME`` and, where the source has a toy size, ``configs/debug/_NAME.py``.

    Args:
        name: of the new study, an identifier.
        source: a study with one baseline, or an experiment, which becomes the baseline.
        factors: ``key=a,b`` of each.
        root: the project's root folder.

    Returns:
        The files, each of which loads and declares what it moves.

    Raises:
        ValueError: the name is taken or no identifier, there is no such source, a key is unknown,
            or a level is the baseline's or given twice; nothing is left behind.
    """
    _check_name(name, root)
    family, run_name = _baseline_of(source, root)
    levels = [level for text in factors for level in _levels(text, family, run_name)]
    texts = _texts(name, family, run_name, _named(levels))
    written_files = [root / path for path in texts]
    (root / CONFIGS / name).mkdir()
    try:
        for path, text in texts.items():
            write_text(root / path, text)
        _check(name, root)
    except BaseException:
        shutil.rmtree(root / CONFIGS / name)
        toy_file(root / DEBUG / name).unlink(missing_ok=True)
        raise
    return written_files


def toy_problems(name: str, root: Path) -> list[str]:
    """What is wrong with the toy versions of a written study, in sentences."""
    study = get_study(name, root, debug=True)
    maker = toy_file(root / study.config_folder)
    if not maker.is_file():
        return [f"There is no toy size, as its source has none: write {maker.relative_to(root)}."]
    family = Family(study, root)
    return list(study_problems(family, [path.stem for path in family.paths.values()]).values())


def _check_name(name: str, root: Path) -> None:
    if not name.isidentifier():
        raise ValueError(
            f"'{name}' is no name for a study: expected letters, digits and underscores, without a "
            "digit at the start."
        )
    folders = [root / CONFIGS / name, root / DEBUG / name]
    for path in (*folders, toy_file(folders[1])):
        if path.exists():
            raise ValueError(f"{path.relative_to(root)} is there already. Choose another name.")


def _baseline_of(source: str, root: Path) -> tuple[Family, str]:
    """The configs of a source, and the run name of the one that becomes the baseline."""
    studies = {name: study for name, study in find_studies(root).items() if not study.is_debug}
    if source not in studies:
        try:
            return find_experiment(source, root)
        except ValueError as error:
            raise ValueError(
                f"--from names '{source}', which is neither an experiment nor one of the studies "
                f"{', '.join(studies) or '(there are none)'}.{nearest(source, studies)}"
            ) from error
    family = Family(studies[source], root)
    found = [name for name in family.paths if not _declared(family.load(name)).get("parent")]
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise ValueError(
            f"A study starts from one baseline, and {source} has {names}. Name an experiment: "
            f"--from {next(iter(found or family.paths))}"
        )
    return family, found[0]


def _levels(text: str, family: Family, run_name: str) -> list[Level]:
    """The levels in ``key=a,b``, each of which the baseline's config takes.

    Raises:
        ConfigError: the key is unknown, a section or no factor, or a level changes nothing.
    """
    key, base, found = text.partition("=")[0].lstrip("+"), family.load(run_name), []
    before = select(to_plain(base), key)
    if below(key, NOT_COMPARED):
        raise ConfigError(f"{key} is no factor: it says what a run is called and where it lies.")
    for word in each_of(text):
        cfg = family.load(run_name, [word])
        after = select(to_plain(cfg), key)
        if isinstance(before, Mapping) or isinstance(after, Mapping):
            raise ConfigError(f"'{word}' changes a section; name one of its keys.")
        if repr(after) == repr(before):
            raise ConfigError(
                f"'{word}' changes nothing: {run_name} has {value_text(before)} there, and is the "
                "study's baseline anyway. Leave it out."
            )
        found.append(Level(key, select(written(cfg), key), before))
    return found


def _named(levels: Sequence[Level]) -> dict[str, Level]:
    """Levels by config name; of two that would share one, the second gets a number."""
    named: dict[str, Level] = {}
    for level in levels:
        if level in named.values():
            raise ValueError(f"{level.key}={value_text(level.value)} is given twice.")
        name, number = level.name, 1
        while name in named or name == BASELINE:
            number += 1
            name = f"{level.name}_{number}"
        named[name] = level
    return named


def _texts(name: str, family: Family, run_name: str, levels: Mapping[str, Level]) -> dict[str, str]:
    """The files of the study by their paths relative to the root."""
    source, folder, debug = family.study, f"{CONFIGS}/{name}", f"{DEBUG}/{name}"
    file = Path(os.path.relpath(family.paths[run_name], folder)).as_posix()
    facts = {"study": name, "source": run_name, "file": file, "family": source.family}
    hypothesis = _declared(family.load(run_name)).get("hypothesis") or _EXPECTED
    texts = {
        f"{folder}/study.yaml": _study_yaml(source, [BASELINE, *levels]),
        f"{folder}/{BASELINE}.py": _render("baseline", facts, name=BASELINE, hypothesis=hypothesis),
    }
    for config_name, level in levels.items():
        more = {"name": config_name, "key": level.key, "level": level.declared}
        more |= {"shown": value_text(level.value), "parent": f"{name}_{BASELINE}"}
        more |= {"before": value_text(level.before), "move": assignment(level.key, level.value)}
        texts[f"{folder}/{config_name}.py"] = _render("level", facts, **more)
    if toy_file(family.root / DEBUG / source.name).is_file():
        texts[toy_file(Path(debug)).as_posix()] = _render("toy", facts)
    return texts


def _study_yaml(source: Study, order: Sequence[str]) -> str:
    """What the source declares, with the order of the new study."""
    declared = {
        "order": list(order),
        "metrics": dict(source.extra_metrics),
        "generate": list(source.generate),
        "work_dir": source.work_folder,
    }
    kept = {key: value for key, value in declared.items() if value}
    return yaml.safe_dump(kept, sort_keys=False, width=100)


def _render(template: str, facts: Mapping[str, Any], **more: Any) -> str:
    loader = PackageLoader("labbook.authoring", "templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"code": code, "doc": _doc}
    return environment.get_template(f"{template}.py.j2").render({**facts, **more, "lab": lab})


def _doc(text: str) -> str:
    """As it can stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _check(name: str, root: Path) -> None:
    family = Family(get_study(name, root), root)
    if found := study_problems(family, [path.stem for path in family.paths.values()]):
        raise ConfigError("\n".join(found.values()))


def _declared(cfg: DictConfig) -> Mapping[str, Any]:
    return cfg.get("experiment") or {}
