"""How the time of a call grows with the size of its input.

``curves.py`` says what is measured, ``fit.py`` fits a power law to the samples and keeps them
between runs, ``page.py`` draws and fills the numbers into ``docs/growth.md``.
"""
