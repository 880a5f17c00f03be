"""Recordings on disk: readers, writers, folders of prepared representations."""

from eventcam.io.bbox import BBOX_DTYPE, read_bbox
from eventcam.io.events import EventReader, Events
from eventcam.io.opening import open_events
from eventcam.io.writers import write_bbox, write_h5_recording

__all__ = [
    "BBOX_DTYPE",
    "EventReader",
    "Events",
    "open_events",
    "read_bbox",
    "write_bbox",
    "write_h5_recording",
]
