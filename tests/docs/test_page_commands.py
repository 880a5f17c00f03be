"""Every command of the pages is one that its program takes, with files and keys that exist."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, util
from pathlib import Path

import pytest
from page_commands import READERS, ROOT, Command, commands
from torch.distributed.run import get_args_parser

from console.main import COMMANDS
from labbook import cli
from labbook.config.load import load_config
from labbook.config.studies import find_experiments, get_study

ALL = commands()
OTHERS = {".", "cd", "git", "pre-commit", "tensorboard"}  # programs of others, called simply
HAVE_COMMANDS = {"data", "doctor"}  # of their own, each with a parser
BENCHMARKS = {  # module -> its name for the parts that it takes
    "benchmarks.bench": "PARTS",
    "benchmarks.bench_growth": "CURVES",
    "benchmarks.bench_soak": "NAMES",
}
OURS = re.compile(r"(configs|tools|tests|projects|benchmarks|docs)/\S+|datasets/\w+\.py|\S+\.sh")


class Parsed(BaseException):
    """A program has read its command line, and would begin."""


@contextmanager
def stopped_once_parsed(monkeypatch) -> Iterator[None]:
    """Parsers end the program that they are content with, and they have to be."""
    with monkeypatch.context() as patch, pytest.raises(Parsed):
        for name in ("parse_args", "parse_intermixed_args"):
            plain = getattr(ArgumentParser, name)

            def parse(self, *args, plain=plain, **options):
                plain(self, *args, **options)
                raise Parsed

            patch.setattr(ArgumentParser, name, parse)
        yield


class Reader:
    """Gives command lines to their programs, as far as their parsers."""

    def __init__(self, monkeypatch) -> None:
        self.monkeypatch = monkeypatch

    def read(self, words: list[str]) -> None:
        """Raises SystemExit, with the parser's message on stderr, if it is refused."""
        program, *rest = words
        program = program.removeprefix(".venv/bin/").removesuffix("3")
        if program.endswith("lab.py"):
            cli.parse(rest)
        elif program.endswith(".sh"):
            cli.parse(["run", "ofat", *(["--only"] if "single" in program else []), *rest])
        elif program.endswith(".py"):
            self.script(program, rest)
        elif program in OTHERS:
            assert rest
        else:
            getattr(self, program)(rest)

    def smalldet(self, rest: list[str]) -> None:
        assert rest[0] in COMMANDS
        self.console(*rest)

    def console(self, name: str, *rest: str) -> None:
        module = import_module(f"console.{name.replace('-', '_')}")
        if name == "lab":
            cli.parse(rest or ["list", "ofat"])
        elif name not in HAVE_COMMANDS and hasattr(module, "parse"):
            module.parse(rest, name)
        else:
            with stopped_once_parsed(self.monkeypatch):
                module.main(rest, name)

    def script(self, path: str, rest: list[str]) -> None:
        text = (ROOT / path).read_text(encoding="utf-8")
        if command := re.search(r'^    script\("([\w-]+)", __file__\)', text, re.M):
            return self.console(command[1], *rest)
        if "ArgumentParser" not in text and "main(sys.argv" not in text:
            assert not rest  # it takes none, and would run
            return None
        self.monkeypatch.setattr(sys, "argv", [path, *rest])
        with stopped_once_parsed(self.monkeypatch):
            runpy.run_path(path, run_name="__main__")

    def python(self, rest: list[str]) -> None:
        if rest[0] != "-m":
            return self.script(rest[0], rest[1:])
        module, *rest = rest[1:]
        assert util.find_spec(module)
        if module in BENCHMARKS:
            known = getattr(import_module(module), BENCHMARKS[module])
            taken = {word for word in rest if word in known or word[0] == "-"}
            assert taken | {"docs", "cuda"} >= {*rest}
            self.monkeypatch.setattr(sys, "argv", [module, *rest])
            with stopped_once_parsed(self.monkeypatch):
                runpy.run_path(module.replace(".", "/") + ".py", run_name="__main__")
        return None

    def make(self, rest: list[str]) -> None:
        """There is the target, and what it would run is a command, too."""
        if not shutil.which("make"):
            pytest.skip("no make")
        made = ["make", "-s", "-n", "-o", ".venv/.ready", *rest]
        done = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [line.removeprefix("OMP_NUM_THREADS=1 ") for line in done.stdout.splitlines()]
        for line in lines:
            if line.startswith(".venv/bin/python"):
                self.python(shlex.split(line)[1:])

    def pip(self, rest: list[str]) -> None:
        assert rest[0] == "install"
        setup = (ROOT / "setup.py").read_text(encoding="utf-8")
        extras = [re.fullmatch(r"\.\[([\w,]+)\]", word) for word in rest]
        names = [name for found in extras if found for name in found[1].split(",")]
        assert all(f'"{name}": ' in setup for name in names)
        assert "-c" not in rest or "constraints.txt" in rest

    def pytest(self, rest: list[str]) -> None:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert rest[0] == "-m" and f'"{rest[1]}: ' in text

    def torchrun(self, rest: list[str]) -> None:
        options, _ = get_args_parser().parse_known_args(rest)
        self.read([options.training_script, *options.training_script_args])


@pytest.mark.parametrize("command", ALL, ids=str)
def test_its_program_takes_it(command: Command, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # some programs change it for their own
    Reader(monkeypatch).read(command.words)


def test_the_pages_are_read():
    assert len(ALL) > 120 and len({command.page for command in ALL}) > 12


def test_files_of_ours_that_are_named_exist():
    named = {w for c in ALL for w in c.words if OURS.fullmatch(w) and not READERS.search(w)}
    assert len(named) > 20
    assert not {word for word in named if not (ROOT / word).exists()}


def overrides_by_config() -> dict[Path, list[str]]:
    """What commands of the pages set, by the config that they set it in."""
    found = defaultdict(list)
    for command in (command for command in ALL if "new-study" not in command.words):
        assigned = [w for w in command.words if re.match(r"[+~]*[a-z_]+\.[\w.]+=", w)]
        configs = [w for w in command.words if w.startswith("configs/") and w.endswith(".py")]
        studies = [w for w in command.words if (ROOT / "configs" / w / "study.yaml").is_file()]
        if any(word.endswith(".sh") for word in command.words):
            studies = ["ofat"]
        if assigned and studies and not configs:
            experiments = find_experiments(get_study(studies[0], ROOT), ROOT)
            configs = [str(next(iter(experiments.values())))]
        if assigned:
            config = (
                Path(*configs[:1]) if configs else Path("configs/etram/baseline_3scale_100k.py")
            )
            found[ROOT / config] += [w for w in assigned if not w.startswith("--")]
    return found


def test_keys_that_are_set_exist():
    found = overrides_by_config()
    assert sum(map(len, found.values())) > 10
    for config, overrides in found.items():
        load_config(config, overrides)  # a key that nothing reads is an error
