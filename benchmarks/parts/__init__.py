"""What ``make bench`` measures: a module a part, named on its command line.

``models`` are kernels, models and steps; ``data`` is what comes before and after them. Each part
has ``rows()``, which yields ``measure.Row``s, and may have ``notes(rows)``: sentences that follow
from them. A new module in either is a new part. Parts that compare results as well as times fail
where these differ. Start with ``models/scan.py``.
"""
