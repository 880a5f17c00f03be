"""What ``make bench`` measures: a module a part, named on its command line.

Each has ``rows()``, which yields ``measure.Row``s, and may have ``notes(rows)``: sentences that
follow from them. A new module here is a new part. Parts that compare results as well as times fail
where these differ. Start with ``scan.py``.
"""
