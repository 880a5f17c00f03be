"""Which images and boxes of an exported COCO file can be trained on, and what was left out.

Flows in: the export of a labelling service; out: a filtered annotation file beside it and a report
with counts and examples. Start reading at ``annotations`` (a pure function), then ``cache``.
"""
