"""Any config of the study small_objects at toy size, made small as those of ofat."""

from ._ofat import toy as _toy


def toy(name):
    """The config ``name`` of small_objects; its factors move at toy size, too."""
    return _toy(f"../small_objects/{name}")
