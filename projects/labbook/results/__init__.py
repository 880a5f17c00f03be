"""What the runs of a study have measured: tables, comparisons, and what to go on with.

In: run folders, read by ``runs``. ``frames`` turns them into pandas frames and says what each
column means; start reading there. ``rules`` refuses to compare what was not made alike,
``differences`` subtracts baselines and parents, with the bootstrap of ``intervals``; ``collect``
does all of that for a study. Out: ``tables`` (scores), ``training`` (how the runs learned, by the
``measures`` of their curves) and ``combine`` with ``combined_config`` (the best levels as the next
config), shown through ``text`` and ``text_table``.

May import ``labbook.config``, ``runfolder`` and ``boxmetrics``. pandas takes its time to load, so
commands import this room on use; ``runs`` and ``text`` do without it.
"""
