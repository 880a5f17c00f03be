"""Generated event recordings with known answers: a street as a traffic camera sees it.

One recording in memory (``generate_recording``), or a data set folder that is made on first use
(``GeneratedRecordings(...).ensure(root)``). Start reading at ``recording``.
"""

from toydata.streets.dataset import SPLITS, GeneratedRecordings, recordings_like
from toydata.streets.recording import generate_recording
from toydata.streets.settings import SceneSettings

__all__ = [
    "SPLITS",
    "GeneratedRecordings",
    "SceneSettings",
    "generate_recording",
    "recordings_like",
]
