"""Data sets in other formats to the layout that ``smalldet.data.splits`` reads.

Flows in: a folder in YOLO's (``yolo``) or Pascal VOC's (``voc``) layout, whose boxes globox parses;
out: a new folder with train, valid and test (``writing``). What cannot be used is left out, counted
and named (``found``). Imports ``files`` and ``errors`` of the data room. Start reading at
``writing``.
"""
