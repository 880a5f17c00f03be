"""Published methods, plainly re-stated: what the parts of the bench compare with.

``tests/benchmarks/test_bench_references.py`` checks them against the published numbers.
"""
