"""The sub-commands of ``tools/lab.py``, a module each.

A command module has ``NAME``, ``HELP``, ``add_arguments(parser)`` and ``execute(options, root)``,
which returns the exit status. If it sets ``TAKES_OVERRIDES``, it finds the ``key=value`` words of
its command line in ``options.overrides``. Every command has ``--debug``.
"""
