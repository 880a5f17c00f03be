"""Will it work? Findings about a machine, a config and a weight file, each with its remedy.

Flows in: nothing (``env``), a loaded config (``config``), a model and a file (``weights``); out:
``findings``, one line each, that name what is wrong and how to mend it. ``env`` imports what it
looks at on use, so it runs where nothing is installed; the others build models through ``engine``.
The data set itself is looked at by ``smalldet.data.check``. Start reading at ``findings``.
"""
