"""Speed as ratios (``make bench``), and how cost grows with the input (``make growth``).

``bench.py`` runs the modules of ``parts`` (of ``gpu`` on a GPU), one for each thing measured, and
prints rows: times of a reference and of a candidate, sampled in turn, and their ratio beside the
one required; ``speed`` keeps them by class of machine in ``results`` and makes ``docs/speed.md``.
``bench_growth.py`` measures the curves of ``growth`` and writes ``docs/growth.md``. ``published``
restates published code to be measured against. Parts and curves share ``measure.py`` (sampling),
``saved.py`` (memory kept for the backward pass) and ``ofat.py`` (models built from configs).

May import all packages; nothing imports it. Results go to ``work_dirs``. Start with ``measure.py``,
then ``parts/models/scan.py``.
"""
