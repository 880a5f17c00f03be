"""What decides whether small objects will be found: a look at the data before training.

Flows in: registered images in Detectron2's format; out: how large boxes are in the network's own
pixels (``shapes``, as a ``picture``), which images two splits share (``leakage``), and what to set
(``advice``) as overrides. Imports the data room alone. Start reading at ``shapes``.
"""
