"""A trained run as a predictor: boxes on images, videos and event recordings.

Flows in: a run folder, or a config with weights (:func:`smalldet.load`), and what there is to look
at; out: Detectron2's ``Instances``, and from the command (:mod:`smalldet.predict.command`)
pictures, videos and JSON. It may import all of ``smalldet``, ``eventcam``, ``pictures`` and
``labbook.config``. Start reading at ``images``.
"""
