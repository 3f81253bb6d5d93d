"""Music auto-tagging of files, samples and live audio, on any GPU or on the CPU.

>>> import tagwave
>>> tagger = tagwave.Tagger()
>>> track = tagger.tag("song.mp3")
>>> track.top(3)
[('electronic', 0.478), ('electronica', 0.14), ('indie', 0.109)]

Scores are from 0 to 1, in the order of the labels; they rank tags, and are no calibrated probabilities.
"""

import atexit as _atexit

from . import _native
from ._catalogue import ModelInfo, labels, models
from ._errors import (
    AudioError,
    DeviceError,
    InputError,
    ModelError,
    ResourceError,
    TagwaveError,
    TagwaveWarning,
)
from ._rows import Rows
from ._stream import Stream, StreamUpdate
from ._tagger import Tagger
from ._track import Clip, Track

__all__ = [
    "AudioError",
    "Clip",
    "DeviceError",
    "InputError",
    "ModelError",
    "ModelInfo",
    "ResourceError",
    "Rows",
    "Stream",
    "StreamUpdate",
    "Tagger",
    "TagwaveError",
    "TagwaveWarning",
    "Track",
    "labels",
    "models",
]

_atexit.register(_native.finish)
