"""Speed as ratios (``bench``) and how cost grows (``bench_growth``): run by ``make bench|growth``.

``parts`` holds a module for each thing measured, ``published`` plain restatements of the published
code to measure against, ``growth`` the curves. May import all packages; nothing imports it.
"""
