"""Runs of experiments: planned, started here or on a cluster, watched, recorded, repeated, removed.

In: experiments as configs (:mod:`labbook.config`) and the command that trains one. Out: run
folders (:mod:`runfolder`) with a ledger entry and notes. Everything that is known of a run is read
from its folder: a run that was killed, with or without the lab book, is picked up by the next call.
Throughout, ``root`` is the project's root folder, and ``train_script`` and config files are
relative to it.

The two halves meet in the folder alone. ``jobs`` -> ``runner`` (or ``slurm``) -> ``processes``
start the training script; inside it ``session`` holds the folder, writes the record, the ledger
entry and the notes. Start reading at ``runner`` for the one, at ``session`` for the other;
``trials`` starts the script for a few steps only.
May import ``labbook.config``, ``runfolder`` and, for how numbers are shown, ``labbook.results``.
"""
