"""Loading configs without what a test process makes slow, or would do hundreds of times."""

from __future__ import annotations

import pickle
import sys
from functools import cache
from pathlib import Path
from typing import Any

import omegaconf.base
import omegaconf.grammar_parser
from detectron2.config import LazyConfig
from omegaconf import DictConfig

from labbook.config import load
from runfolder.files import write_bytes

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def make_configs_quick(folder: Path) -> None:
    """Files of this repository, which no test changes, are run once; ``folder`` is for results.

    Interpolations are parsed once: the same hundred stand in hundreds of configs.
    """
    LazyConfig.load_rel = staticmethod(load_rel)
    parse = cache(omegaconf.grammar_parser.parse)
    for module in (omegaconf.base, omegaconf._utils):
        module.parse = parse
    load._read_python = _Results(load._read_python, folder).read


def load_rel(filename: str, keys: str | tuple[str, ...] | None = None) -> Any:
    """As Detectron2's, which reads the sources of all callers to name one: pytest has sixty."""
    caller = sys._getframe(1).f_code.co_filename
    return LazyConfig.load(str(Path(caller).parent / filename), keys)


class _Results:
    """What config files gave, shared by the processes of a session."""

    def __init__(self, genuine: Any, folder: Path) -> None:
        self.genuine = genuine
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def read(self, path: Path, is_toy: bool) -> DictConfig:
        whole = path.resolve()
        if not whole.is_relative_to(CONFIGS):
            return self.genuine(path, is_toy)
        kept = self.folder / str(whole.relative_to(CONFIGS)).replace("/", "-")
        if kept.is_file():
            return pickle.loads(kept.read_bytes())
        cfg = self.genuine(path, is_toy)
        write_bytes(kept, pickle.dumps(cfg))
        return cfg
