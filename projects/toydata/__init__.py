"""Generated data with known answers, for demo, tests and benchmarks.

``heads`` paints crowds as a COCO-format data set, ``streets`` simulates an event camera over a
street as raw recordings. Equal parameters give equal files. A data set of a config that generates
itself is given one of the generators (``GeneratedHeads``, ``GeneratedRecordings``) under
``dataset.generate`` and calls its ``ensure(root)``.

May import ``runfolder`` and the writers of ``eventcam.io``. Start reading at ``folder``.
"""
