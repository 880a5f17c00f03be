"""The one description of a run folder: what its files are called, read and written as values.

Training writes (a record, metrics, results, locks), everything else reads; both know a run folder
through this package only. In: a folder. Out: :class:`~runfolder.run.Run`, with the record, config
and results in it.

A leaf: besides the standard library it needs omegaconf, psutil and filelock, and it imports no
other package of ours. Start reading at ``names``, then ``run`` for readers or ``records`` for
trainers; ``trust`` says what a run's config may name. ``files.replacing`` is how any package of
ours writes a file whole.
"""
