"""What ``make bench`` keeps: the machine, its class, and the page made from all classes.

``machine`` measures what decides speed, ``kept`` merges a measurement into the file of its class
(``benchmarks/results``), ``page`` makes ``docs/speed.md`` from these files. Start with ``kept``.
"""
