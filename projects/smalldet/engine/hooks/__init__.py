"""What happens around the steps of a run, as Detectron2's hooks.

In comes the trainer, out go scalars in its storage and files in the run folder. Their order
matters: what measures comes first, then what changes weights, then what scores (``evaluation``,
``ema``), then what writes and saves; ``smalldet.engine.run`` registers them. They
import ``smalldet.engine`` below ``run``, and no model. Start reading at ``evaluation``.
"""
