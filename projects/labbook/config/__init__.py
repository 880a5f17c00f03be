"""Configs of experiments: loaded, checked, compared with their parents, explained.

In: LazyConfig files, Detectron2's and ours, or the ``config.yaml`` of a run folder, and
``key=value`` words. Out: an ``omegaconf.DictConfig`` that holds data (:mod:`~labbook.config.plain`)
and is closed to unknown keys, or a ``ConfigError`` that is a sentence.

Start reading at ``load`` for one config (``plain``, ``sections``, ``signatures`` and ``overrides``
are its parts), at ``studies`` and ``lineage`` for the configs of a study, at ``guard`` for what an
experiment may change. ``explain`` and ``differences`` tell people, ``resume`` compares with a saved
config. May import ``runfolder`` and omegaconf, on use Detectron2 and hydra; no other room of
``labbook``.
"""
