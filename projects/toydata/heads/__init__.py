"""Painted crowds as a COCO-format data set: ``GeneratedHeads(...).ensure(root)``.

Start reading at ``dataset``, then ``images``; ``people``, ``scenery`` and ``painting`` are what
the pictures are made of.
"""

from toydata.heads.dataset import GeneratedHeads

__all__ = ["GeneratedHeads"]
