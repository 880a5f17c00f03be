"""A trained run as one file: a graph for ONNX or ``torch.export``, or its weights alone.

Flows in: a run folder, or a config with weights; out: a file that describes itself
(``smalldet.predict.manifest``) and was compared with the model, so that ``smalldet.load`` and other
programs can use it. ``program.py`` says what the graph is, ``writing.py`` makes files of it,
``check.py`` compares, ``command.py`` does all of that. It may import all of ``smalldet`` and
``labbook.config``. Start reading at ``program``.
"""
