"""Readers of event files, a module a format; ``eventcam.io.opening`` chooses among them.

In: the path of a file; out: an :class:`eventcam.io.events.EventReader`, or a sentence that says why
not. May import what ``eventcam.io`` may. Start reading at ``dat``, the shortest.
"""
