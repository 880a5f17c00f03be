"""The config file of a combination of levels: the baseline, and the keys that it moves."""

from __future__ import annotations

import json
import math
import os
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from labbook.config.studies import DEBUG_SUFFIX, STUDIES, find_experiments
from labbook.results.combine import SPLIT, Combination, combined_name
from runfolder.files import write_text
from runfolder.run import Run

_WIDTH = 100  # characters of a line
_MISSING = object()


def write_combined(combination: Combination, root: Path) -> Path:
    """Write the config file and return its path.

    It is ``combined.py`` beside the study's configs; of a toy-size twin it is
    ``<study>_combined.py`` in its work folder, which holds nothing that anybody keeps.

    Raises:
        ValueError: the baseline has no config file, or a run's config lacks a key that it moves.
    """
    study = combination.study
    is_toy = study.name.endswith(DEBUG_SUFFIX)
    folder = root / (study.work_folder if is_toy else study.config_folder)
    path = folder / (f"{combined_name(study)}.py" if is_toy else "combined.py")
    command = (
        f"tools/lazyconfig_train_net.py --config-file {path.relative_to(root).as_posix()}"
        if is_toy
        else f"tools/lab.py run {study.family} --only combined"
    )
    baseline = os.path.relpath(_baseline_file(combination, root), folder)
    write_text(path, config_text(combination, Path(baseline).as_posix(), command))
    return path


def write_twin(combination: Combination, root: Path) -> Path | None:
    """Write the config file of the same at toy size, as the baseline has one; return its path.

    None, if the study has no twin, or its baseline none. ``lab.py preflight`` needs it.
    """
    twin = STUDIES.get(combination.study.name + DEBUG_SUFFIX)
    if twin is None:
        return None
    baseline, folder = _baseline_file(combination, root), root / twin.config_folder
    if not (folder / baseline.name).is_file():
        return None
    text = (folder / baseline.name).read_text(encoding="utf-8")
    write_text(folder / "combined.py", text.replace(baseline.stem, "combined"))
    return folder / "combined.py"


def config_text(combination: Combination, baseline_file: str, command: str) -> str:
    """The config file's text.

    Args:
        combination: what was chosen, at least one level.
        baseline_file: path of the baseline's config, relative to the new file.
        command: how to run it.
    """
    code = _Code()
    moves = [
        _assignment(key, code.of(_value(one.row.finished[0], key), _indent(key)))
        for one in combination.chosen
        for key in one.factors
    ]
    return "\n".join(
        [
            *_docstring(combination, command),
            "",
            f"from detectron2.config import {code.lazy_call}LazyConfig",
            *code.imports,
            "",
            f"globals().update(LazyConfig.load_rel({_string(baseline_file)}))",
            "",
            *moves,
            *_declaration(combination),
            "",
        ]
    )


class _Code:
    """Config values as Python; collects what must be imported for them."""

    def __init__(self) -> None:
        self._modules: dict[str, str] = {}

    @property
    def lazy_call(self) -> str:
        """What to import before LazyConfig."""
        return "LazyCall as L, " if self._modules else ""

    @property
    def imports(self) -> list[str]:
        return [f"from {module} import {name}" for name, module in sorted(self._modules.items())]

    def of(self, value: Any, used: int = 0) -> str:
        """``value`` as an expression, on several lines if it does not fit after ``used`` ones."""
        if isinstance(value, Mapping):
            return self._mapping(value, used)
        if isinstance(value, list):
            return _bracketed("[", [self.of(child) for child in value], "]", used)
        if isinstance(value, str):
            return _string(value)
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        return repr(value)

    def _mapping(self, value: Mapping[Any, Any], used: int) -> str:
        if "_target_" not in value:
            entries = [f"{_string(str(name))}: {self.of(child)}" for name, child in value.items()]
            return _bracketed("{", entries, "}", used)
        call = f"L({self._target(value['_target_'])})("
        arguments = [
            f"{name}={self.of(child)}" for name, child in value.items() if name != "_target_"
        ]
        return _bracketed(call, arguments, ")", used)

    def _target(self, path: str) -> str:
        """The name of a callable after its import; its path as text where the name is taken."""
        parts = path.split(".")
        classes = [at for at, part in enumerate(parts[:-1]) if part.lstrip("_")[:1].isupper()]
        at = classes[0] if classes else len(parts) - 1
        module, name = ".".join(parts[:at]), parts[at]
        if self._modules.setdefault(name, module) != module:
            return _string(path)
        return ".".join(parts[at:])


def _docstring(combination: Combination, command: str) -> list[str]:
    question = "Question: do the best levels of single factors add up?"
    gains = [f"{one.level} ({one.gain.estimate:+.1f})" for one in combination.chosen]
    text = f"Gains in {combination.metric} on {SPLIT}: {', '.join(gains)}."
    lines = textwrap.wrap(text.replace('"""', "'''"), _WIDTH)
    return [f'"""{question}', *lines, f"Run: {command}", '"""']


def _declaration(combination: Combination) -> Iterable[str]:
    gain = sum(one.gain.estimate or 0.0 for one in combination.chosen)
    level = ", ".join(one.level for one in combination.chosen)
    factors = [_string(key) for key in combination.factors]
    hypothesis = f"The gains add up to {gain:+.1f} points of {combination.metric} on {SPLIT}."
    yield "experiment.update("
    yield f"    name={_string(combined_name(combination.study))},"
    yield f"    parent={_string(combination.baseline.name)},"
    yield f"    factors={_bracketed('[', factors, ']', len('    factors=,'), '    ')},"
    yield f"    level={_string(level)},"
    yield f"    hypothesis={_string(hypothesis)},"
    yield ")"


def _value(run: Run, key: str) -> Any:
    """What the run's config has at ``key``, with its interpolations where they were kept."""
    for name in ("config_source.yaml", "config.yaml"):
        path = run.folder / name
        if path.is_file():
            tree: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
            for part in key.split("."):
                tree = _child(tree, part)
            if tree is not _MISSING:
                return tree
    raise ValueError(
        f"The config in {run.folder} has no key {key}, which its experiment declares to move. "
        "Remove or rename that folder, and run the experiment again."
    )


def _child(tree: Any, name: str) -> Any:
    if isinstance(tree, Mapping):
        return tree.get(name, _MISSING)
    if isinstance(tree, list) and name.isdigit() and int(name) < len(tree):
        return tree[int(name)]
    return _MISSING


def _assignment(key: str, expression: str) -> str:
    return f"{_place(key)} = {expression}"


def _indent(key: str) -> int:
    return len(_assignment(key, ""))


def _place(key: str) -> str:
    """The key as Python, as ``model.head.sizes[0]``."""
    first, *rest = key.split(".")
    return first + "".join(
        f".{part}" if part.isidentifier() else f"[{part if part.isdigit() else _string(part)}]"
        for part in rest
    )


def _bracketed(opening: str, parts: list[str], closing: str, used: int, indent: str = "") -> str:
    """On one line if that is short enough, else a part a line."""
    line = f"{opening}{', '.join(parts)}{closing}"
    if used + len(line) <= _WIDTH and "\n" not in line:
        return line
    inner = [f"{indent}    {part}," for part in parts]
    return "\n".join([opening, *inner, f"{indent}{closing}"])


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _baseline_file(combination: Combination, root: Path) -> Path:
    study = combination.study
    for name, path in find_experiments(study, root).items():
        if study.run_name(name) == combination.baseline.name:
            return root / path
    raise ValueError(
        f"{combination.baseline.name} has runs, but no config in {study.config_folder}; the "
        "combination is written as a change of it. Restore the config file."
    )
