"""Any config of the study small_objects at toy size, made small as those of ofat."""

from detectron2.config import LazyConfig
from labbook.authoring.toys import move_factors

from ._ofat import toy as _toy


def toy(name):
    """The config ``name`` of small_objects; its factors move at toy size, too."""
    cfg = _toy(f"../small_objects/{name}")
    real = LazyConfig.load_rel(f"../small_objects/{name}.py")
    move_factors(cfg, real, _toy("../small_objects/baseline"))
    return cfg
