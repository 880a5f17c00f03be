"""What the sub-commands of ``tools/lab.py`` do; ``labbook.cli`` declares their options.

A command is a function of ``(options, root)``: the parsed command line, with its ``key=value``
words in ``options.overrides``, and the project's root folder. It returns the exit status.
"""
