"""From a config to a trained model and its scores.

In comes a config in plain dicts (``model``, ``dataloader``, ``optimizer``, ``lr_multiplier``,
``train`` as Detectron2 names them; ``dataset`` and ``evaluation`` where there are some), out comes
a run folder: checkpoints, metrics, predictions, results. Imports ``data``, ``evaluation`` and
``runfolder``, and no model: those are what the config names. Start reading at ``run``, then
``trainer``; what happens around the steps is in ``hooks``.
"""
