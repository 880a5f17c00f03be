"""What becomes of a step that fails: too little memory on the GPU, values that are not finite.

In comes the step as it began (``step_start``) and the error, out goes the same step in smaller
micro-batches (``memory``), or a sentence and a file from which the error can be raised again
(``nan_dump``, ``reproduce``). ``reproduce`` alone imports the trainer, which imports the others.
Start reading at ``step_start``.
"""
