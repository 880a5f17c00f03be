"""Event recordings to training sequences; knows no model and no Detectron2.

``io`` reads and writes recordings, ``prepare`` turns raw ones into representations and labels,
``sampling`` plays the prepared ones to a training or an evaluation, ``augment`` changes sequences
alike in all steps, ``render`` shows all of it. Above them: classes (``class_maps``), what was
``published`` with the data sets, boxes (``labels``), time windows (``windows``),
``representations``, and the data set that a config names (``dataset``).

Flows in: raw recordings and their box files; out: sequence samples, dicts of plain tensors (see
``sampling.sequences``). May import ``nativecode``, ``pictures`` and ``runfolder``. Start reading
at ``dataset``.
"""
