"""How the time of a call grows with the size of its input.

``curves.py`` says what is measured, ``fit.py`` fits a power law to the samples, ``records.py``
keeps them between runs, ``plots.py`` draws, ``page.py`` fills the numbers into ``docs/growth.md``.
"""
