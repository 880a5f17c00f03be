"""Config files that are written, not read: a study of one's own from another study's baseline.

In: a study, or an experiment of one, and ``key=a,b`` for each factor. Out: a folder of
``configs`` that the guard passes, with its toy size. Start reading at ``study``; ``toys`` is what a
written study's toy versions call, ``python`` writes values as source. May import
``labbook.config`` and ``runfolder``.
"""
