"""Short runs of whole configs, to see how they go (``preflight``: whether a study would run).

Flows in: the configs of a study, as jobs; out: a ``Trial`` each. Start reading at ``attempts``,
which runs them and waits; ``forked`` spares them the loading of libraries.
"""
