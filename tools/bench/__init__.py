"""The parts of ``tools/bench.py``: a module a part, each with ``cases()``.

``cases()`` yields what :mod:`bench.harness` measures: a :class:`Case` (reference and candidate, in
turn) or a :class:`Fact` (a number that is no time). References are plain re-statements of the
published methods, checked against the golden numbers by tests.
"""
