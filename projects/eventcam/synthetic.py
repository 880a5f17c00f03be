"""Generated event recordings with known answers: a street as a traffic camera sees it.

The door to the modules ``synthetic_*``: one recording in memory (``generate_recording``), or a
data set folder that is made on first use (``ensure_dataset``).
"""

from eventcam.synthetic_dataset import ensure_dataset, generate_dataset
from eventcam.synthetic_recording import generate_recording
from eventcam.synthetic_settings import SPLITS, GeneratedRecordings, SceneSettings

__all__ = [
    "SPLITS",
    "GeneratedRecordings",
    "SceneSettings",
    "ensure_dataset",
    "generate_dataset",
    "generate_recording",
]
