"""Where a value of an experiment comes from, told in lines."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from labbook.config.lineage import Family, override_key
from labbook.config.load import ConfigError, to_plain
from labbook.config.signatures import MISSING, defaults_of
from labbook.config.sources import Assignment, find_assignments
from labbook.config.trees import below, flatten, is_key, nearest_key, select, value_text, written

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_ENVIRONMENT = re.compile(r"\$\{oc\.env:(\w+)")
_FROM_THE_FILE = ("experiment.name", "experiment.study", "experiment.hypothesis")
_WIDTH = 14  # of the titles


def explain(family: Family, run_name: str, key: str) -> str:
    """Tell what a dotted key of an experiment is and what made it so; of a section, all below it.

    Raises:
        ConfigError: the config does not load, or has no such key; the nearest one is said.
    """
    return "\n".join(_Explanation(family, run_name).lines(key))


class _Explanation:
    """One experiment, read in all the ways that its explanation needs."""

    def __init__(self, family: Family, run_name: str) -> None:
        self.family = family
        self.overrides = family.overrides
        self.run_name = run_name
        self.file = family.root / family.paths[run_name]
        self.cfg = family.load(run_name)
        self.plain = to_plain(self.cfg)
        self.written = flatten(written(self.cfg))

    def lines(self, key: str) -> Iterator[str]:
        """The explanation of a key."""
        node = next((leaf for leaf in self.written if leaf != key and below(key, [leaf])), "")
        if target := _REFERENCE.fullmatch(str(self.written.get(node, ""))):
            yield f"{node} is {target[0]}, so this is"
            yield from self.lines(target[1] + key.removeprefix(node))
        elif key in self.written:
            yield f"{key} = {value_text(select(self.plain, key))}"
            yield from _table(self._facts(key))
        elif is_key(self.plain, key):
            yield f"{key} holds"
            inside = [leaf for leaf in self.written if below(leaf, [key])]
            yield from (f"  {self._short(leaf)}" for leaf in inside)
        else:
            yield f"{key} is not set"
            yield from _table(self._default_facts(key))

    def _facts(self, key: str) -> Iterator[tuple[str, str]]:
        """Titles and texts about a value."""
        text = str(self.written[key])
        if "${" in text:
            yield "written as", text
        yield from self._places(key)
        yield from (("refers to", line) for line in self._referred(text))
        for parent in self.family.ancestors(self.cfg):
            value = value_text(select(to_plain(parent), key))
            yield "parents", f"{parent.experiment.name} has {value}"
        yield "command line", self._command_line(key)

    def _places(self, key: str) -> Iterator[tuple[str, str]]:
        """What sets the value, and the lines whose values it replaces."""
        places = [f"the command line, {text}" for text in self._own_overrides(key)[-1:]]
        for found in find_assignments(self.file, key):
            was = f"{value_text(ast.unparse(found.value))}, " if places else ""
            places.append(f"{was}{self._at(found)}\n{'':{_WIDTH + 6}}{found.text}")
        places = places or [f"no config file: {self._default(key)}"]
        yield "set by", places[0]
        yield from (("instead of", place) for place in places[1:])

    def _own_overrides(self, key: str) -> list[str]:
        """What the command line gives for the key itself, or a section that holds it."""
        return [text for text in self.overrides if below(key, [override_key(text)])]

    def _at(self, found: Assignment) -> str:
        path = os.path.relpath(found.file, self.family.root)
        return f"{found.file if path.startswith('..') else path}:{found.line}"

    def _referred(self, text: str) -> list[str]:
        """The keys in an interpolation, those in theirs, and variables of the environment."""
        keys: list[str] = []
        waiting = _REFERENCE.findall(text)
        while waiting:
            key = waiting.pop(0)
            if key not in keys and key in self.written:
                keys.append(key)
                waiting += _REFERENCE.findall(str(self.written[key]))
        variables = {name: os.environ.get(name, "not set") for name in _ENVIRONMENT.findall(text)}
        shown = [f"{name} of the environment: {value}" for name, value in variables.items()]
        return [*map(self._short, keys), *shown]

    def _short(self, key: str) -> str:
        found = next(find_assignments(self.file, key), None)
        where = self._at(found) if found else self._default(key)
        where = "the command line" if self._own_overrides(key) else where
        return f"{key} = {value_text(select(self.plain, key))}   ({where})"

    def _default(self, key: str) -> str:
        if key in _FROM_THE_FILE and select(self.plain, key):
            return f"the name and docstring of {self.file.name}"
        target = self._call(key)
        return f"the default of {target}" if target else "it is absent there"

    def _call(self, key: str) -> str:
        """The function or class that takes ``key``; "" if none does."""
        call = select(self.plain, key.rpartition(".")[0])
        return str(call.get("_target_", "")) if isinstance(call, Mapping) else ""

    def _command_line(self, key: str) -> str:
        if not self.overrides:
            return "nothing given"
        before = value_text(select(to_plain(self.family.load(self.run_name, ())), key))
        if before == value_text(select(self.plain, key)):
            return "does not change it"
        changing = ", ".join(self._own_overrides(key) or self.overrides)
        return f"{changing} changes it; the files say {before}"

    def _default_facts(self, key: str) -> Iterator[tuple[str, str]]:
        """Of a key that the config leaves to the default of what it calls, if it is one."""
        section, _, name = key.rpartition(".")
        target = self._call(key)
        defaults = defaults_of(target) if target else {}
        default = defaults.get(name, MISSING)
        if default == MISSING:
            near = nearest_key(self.plain, key, [f"{section}.{other}" for other in defaults])
            raise ConfigError(f"{self.run_name}: the config has no key '{key}'.{near}")
        yield "default", f"{value_text(default)}, of {target}"
        yield "to set it", f"+{key}=VALUE, or a line in the config file"


def _table(facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A line for each text; a title that repeats is left out, but for places."""
    last = ""
    for title, text in facts:
        yield f"  {'' if title == last != 'instead of' else title:{_WIDTH}}{text}"
        last = title
