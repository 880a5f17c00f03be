"""Loading configs without what a test process makes slow, or would do hundreds of times."""

from __future__ import annotations

import marshal
import os
import pickle
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import omegaconf.base
import omegaconf.grammar_parser
from detectron2.config import LazyConfig
from omegaconf import DictConfig, OmegaConf

from runfolder.files import write_bytes

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
RESULTS = "QUICK_CONFIGS"  # in the environment: the folder of results
Keys = str | tuple[str, ...] | None


def make_configs_quick(folder: Path) -> None:
    """Files of this repository, which no test changes, are run once; ``folder`` is for results.

    Interpolations are parsed once: the same hundred stand in hundreds of configs. So are nodes made
    of equal data once, and copied.
    """
    parse = cache(omegaconf.grammar_parser.parse)
    for module in (omegaconf.base, omegaconf._utils):
        module.parse = parse
    folder.mkdir(exist_ok=True)
    os.environ[RESULTS] = str(folder)
    genuine = LazyConfig.load

    def load(filename: str, keys: Keys = None) -> Any:
        return _known(filename, keys, folder, genuine)

    def load_rel(filename: str, keys: Keys = None) -> Any:
        """As Detectron2's, which reads the sources of all callers: pytest has sixty."""
        caller = sys._getframe(1).f_code.co_filename
        return LazyConfig.load(str(Path(caller).parent / filename), keys)

    LazyConfig.load, LazyConfig.load_rel = staticmethod(load), staticmethod(load_rel)
    OmegaConf._create_impl = staticmethod(_copies_of(OmegaConf._create_impl))


def _known(filename: str, keys: Keys, folder: Path, genuine: Callable[..., Any]) -> Any:
    """What a file gives, from ``folder`` if it is there; of what is no config, as it is."""
    path = Path(os.path.normpath(filename)).resolve()
    if not path.is_relative_to(CONFIGS):
        return genuine(filename, keys)
    kept = folder / str(path.relative_to(CONFIGS)).replace("/", "-")
    if not kept.is_file():
        write_bytes(kept, pickle.dumps(genuine(filename)))
    cfg = pickle.loads(kept.read_bytes())
    if keys is None:
        return cfg
    names = (keys,) if isinstance(keys, str) else keys
    if not all(name in cfg for name in names):
        return genuine(filename, keys)
    found = tuple(_alone(cfg, name) for name in names)
    return found[0] if isinstance(keys, str) else found


def _copies_of(make: Callable[..., Any]) -> Callable[..., Any]:
    """``make``, called once for equal dictionaries of nothing but data."""
    made: dict[bytes, bytes] = {}

    def make_or_copy(obj: Any = None, parent: Any = None, flags: Any = None) -> Any:
        try:
            key = marshal.dumps((obj, flags), 2)  # what it does not take, is no data
        except ValueError:
            return make(obj, parent, flags)
        if parent is not None or not isinstance(obj, dict):
            return make(obj, parent, flags)
        if key not in made:
            made[key] = pickle.dumps(make(obj, None, flags))
        return pickle.loads(made[key])

    return make_or_copy


def _alone(cfg: DictConfig, name: str) -> Any:
    """A section as it is in the file, where no config is around it."""
    section = cfg._get_node(name)
    section._set_parent(None)
    return section
