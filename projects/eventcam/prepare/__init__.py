"""Raw recordings to prepared ones: representations at a fixed rate, labels, times, a manifest.

Flows in: event files and ``*_bbox.npy``, ``.csv`` or ``.json``; out: a folder in the layout of
``eventcam.io.rvt_layout``.
Start reading at ``folder`` (all recordings), then ``recording`` (one of them); ``folder_check``
says what is there, before or after.
"""
