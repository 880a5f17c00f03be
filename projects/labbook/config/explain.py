"""Where a value of an experiment comes from, told in lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from labbook.config.lineage import Family, override_key
from labbook.config.load import ConfigError, to_plain
from labbook.config.origins import Origins, Place, trace_origins
from labbook.config.signatures import MISSING, default_of, nearest, parameter_names
from labbook.config.source_lines import source_line
from labbook.config.studies import Study
from labbook.config.trees import below, leaves, prefixes, select, value_text
from runfolder.run import read_run

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_ENVIRONMENT = re.compile(r"\$\{oc\.env:(\w+)")
_WIDTH = 14  # of the titles


def explain(
    study: Study, config_name: str, key: str, root: Path, overrides: Sequence[str] = ()
) -> str:
    """Tell what a key of an experiment is and what made it so.

    Args:
        study: the study of the experiment.
        config_name: name of its config file, without ``.py``.
        key: a dotted key; of a section, all values below it are listed.
        root: the project's root folder.
        overrides: ``key=value`` of a command line.

    Raises:
        ConfigError: the config does not load, or has no such key; the nearest one is said.
    """
    return "\n".join(_Story(Family(study, root, overrides), config_name).lines(key))


class _Story:
    """One experiment, read in all the ways that its explanation needs."""

    def __init__(self, family: Family, config_name: str) -> None:
        self.family = family
        self.run_name = family.study.run_name(config_name)
        self.cfg = family.load(config_name)
        self.plain = to_plain(self.cfg)
        self.written = leaves(OmegaConf.to_container(self.cfg, resolve=False))

    @cached_property
    def origins(self) -> Origins:
        """Of what the files write, without the command line."""
        return trace_origins(self.family.root / self.family.paths[self.run_name])

    def lines(self, key: str) -> Iterator[str]:
        """The explanation of a key."""
        node = next((n for n in prefixes(key) if n != key and _refers(self.written.get(n))), "")
        if target := _REFERENCE.fullmatch(self.written.get(node, "")):
            yield f"{node} is {target[0]}, so this is"
            yield from self.lines(target[1] + key.removeprefix(node))
        elif key in self.written:
            yield from self._value(key)
        elif select(self.plain, key) != MISSING:
            yield f"{key} holds"
            inside = [leaf for leaf in self.written if below(leaf, [key])]
            yield from (f"  {self._short(leaf)}" for leaf in inside)
        else:
            yield from self._not_set(key)

    def _value(self, key: str) -> Iterator[str]:
        value, text = select(self.plain, key), self.written[key]
        yield f"{key} = {value_text(value)}"
        if _refers(text):
            yield from _entries("written as", [str(text)])
        yield from self._origins_of(key)
        yield from _entries("refers to", self._referred(str(text)))
        parents = self.family.ancestors(self.cfg)
        values = [(p.experiment.name, select(to_plain(p), key)) for p in parents]
        yield from _entries("parents", [f"{name} has {value_text(v)}" for name, v in values])
        yield from _entries("command line", [self._command_line(key, value)])
        yield from _entries("its run", self._run(key))

    def _origins_of(self, key: str) -> Iterator[str]:
        """What set the value, what handed it on, and the values that it replaced."""
        origin, title = self.origins.get(key), "set by"
        if own := self._own_overrides(key):
            yield from _entries(title, [f"the command line, {own[-1]}"])
            title = "instead of"
        if origin is None:
            yield from _entries(title, [f"no config file: {self._default(key)}"])
        while origin is not None:
            was = f"{value_text(origin.value)}, " if title == "instead of" else ""
            yield from _entries(title, [f"{was}{self._at(origin.place)}", self._line(origin.place)])
            if title == "set by":
                handed = [f"{self._at(p)}  {source_line(*p)}" for p in origin.taken_over]
                yield from _entries("handed on by", handed)
            origin, title = origin.before, "instead of"

    def _own_overrides(self, key: str) -> list[str]:
        """What the command line gives for the key itself, or a section that holds it."""
        return [text for text in self.family.overrides if below(key, [override_key(text)])]

    def _line(self, place: Place) -> str:
        return f"    {source_line(*place)}"

    def _at(self, place: Place) -> str:
        path = os.path.relpath(place.file, self.family.root)
        return f"{place.file if path.startswith('..') else path}:{place.line}"

    def _referred(self, text: str) -> list[str]:
        """The keys in an interpolation, those in theirs, and variables of the environment."""
        keys: list[str] = []
        waiting, shown = _REFERENCE.findall(text), []
        while waiting:
            key = waiting.pop(0)
            if key not in keys and key in self.written:
                keys.append(key)
                waiting += _REFERENCE.findall(str(self.written[key]))
        for variable in _ENVIRONMENT.findall(text):
            value = os.environ.get(variable, "not set")
            shown.append(f"{variable} of the environment: {value}")
        return [*map(self._short, keys), *shown]

    def _short(self, key: str) -> str:
        origin = self.origins.get(key)
        where = self._at(origin.place) if origin else self._default(key)
        where = "the command line" if self._own_overrides(key) else where
        return f"{key} = {value_text(select(self.plain, key))}   ({where})"

    def _default(self, key: str) -> str:
        target = self._call(key)
        return f"the default of {target}" if target else "it is absent there"

    def _call(self, key: str) -> str:
        """The function or class that takes ``key``; "" if none does."""
        call = select(self.plain, key.rpartition(".")[0])
        return call.get("_target_", "") if isinstance(call, Mapping) else ""

    def _command_line(self, key: str, value: Any) -> str:
        overrides = self.family.overrides
        if not overrides:
            return "nothing given"
        files = Family(self.family.study, self.family.root)
        before = value_text(select(to_plain(files.load(self.run_name)), key))
        if own := self._own_overrides(key):
            return f"{own[-1]} changes it; the files say {before}"
        if before == value_text(value):
            return "does not change it"
        return f"changes it through {', '.join(overrides)}; the files say {before}"

    def _run(self, key: str) -> list[str]:
        folder = self.family.root / self.cfg.train.output_dir
        if not (folder / "config.yaml").is_file():
            return []
        run = read_run(folder)
        words = [word for word in (run.record.command if run.record else []) if "=" in word]
        given = f"command line {' '.join(words)}" if words else "nothing on its command line"
        value = value_text(select(run.config, key))
        return [f"{self.cfg.train.output_dir} ({run.status}) has {value}; {given}"]

    def _not_set(self, key: str) -> Iterator[str]:
        """A key that the config leaves to the default of what it calls, or no key at all."""
        section, _, name = key.rpartition(".")
        target = self._call(key)
        takes = parameter_names(target) if target else []
        default = default_of(target, name) if name in takes else MISSING
        if default == MISSING:
            known = {prefix for leaf in self.written for prefix in prefixes(leaf)}
            known |= {f"{section}.{other}" for other in takes}
            raise ConfigError(
                f"{self.run_name}: the config has no key '{key}'.{nearest(key, known)}"
            )
        yield f"{key} is not set"
        yield from _entries("default", [f"{value_text(default)}, of {target}"])
        yield from _entries("to set it", [f"+{key}=VALUE, or a line in the config file"])


def _refers(text: Any) -> bool:
    return isinstance(text, str) and "${" in text


def _entries(title: str, texts: Sequence[str]) -> Iterator[str]:
    """Lines with the title before the first."""
    for number, text in enumerate(texts):
        yield f"  {'' if number else title:{_WIDTH}}{text}"
