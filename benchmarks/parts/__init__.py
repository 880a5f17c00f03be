"""What ``benchmarks/bench.py`` measures: one module a part, each with a function ``rows()``."""
