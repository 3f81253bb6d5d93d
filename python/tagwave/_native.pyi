"""Types of the extension module, which the package wraps."""

from typing import Any, TypedDict, final, type_check_only

import numpy as np
import numpy.typing as npt

__all__ = ["Row", "RowRun", "Stream", "TableWriter", "Tagger", "finish", "labels", "models", "run_program"]

@type_check_only
class Settings(TypedDict):
    model: str
    device: str
    weights: str | None
    labels: list[str] | None
    compat: str
    precision: str
    clips: str | float
    stride: float | None
    pad: str
    aggregate: str
    batch: int | None
    cpu_threads: int | None
    decode_threads: int | None
    tap: str | None

@type_check_only
class StreamSettings(TypedDict):
    sample_rate: int
    channels: int
    hop: float | None
    window: float | None
    buffer: float | None
    smoothing: float | None
    every_hop: bool

@type_check_only
class ClipFields(TypedDict):
    start_s: float
    scores: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    tap: npt.NDArray[np.float32] | None
    device: str

@type_check_only
class TrackFields(TypedDict):
    scores: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    tap: npt.NDArray[np.float32] | None
    clips: list[ClipFields]
    warnings: list[str]
    track_s: float | None
    decoder: str

@type_check_only
class UpdateFields(TypedDict):
    start_s: float
    end_s: float
    heard_s: float
    scores: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    is_silent: bool
    skipped: int
    overrun_frames: int
    device: str

@type_check_only
class ModelFields(TypedDict):
    name: str
    title: str
    sample_rate: int
    clip_samples: int
    embedding_len: int
    is_built_in: bool
    stated_auc: float | None

@final
class Tagger:
    def __new__(cls, settings: Settings) -> Tagger: ...
    def tag_file(self, path: str) -> TrackFields: ...
    def tag_samples(self, samples: npt.NDArray[Any], sample_rate: int) -> TrackFields: ...
    def take_warnings(self) -> list[str]: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def model(self) -> str: ...
    @property
    def compat(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def clip_samples(self) -> int: ...
    @property
    def embedding_len(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def weights_digest(self) -> str | None: ...

@final
class RowRun:
    def __new__(cls, tagger: Tagger) -> RowRun: ...
    @property
    def has_room(self) -> bool: ...
    def push(self, path: str) -> None: ...
    def end(self) -> None: ...
    def next(self, wait: bool) -> Row | None: ...
    def close(self) -> None: ...

@final
class Row:
    def json(self, top: int, threshold: float | None) -> str: ...
    def check(self) -> None: ...
    @property
    def path(self) -> str: ...
    @property
    def scores(self) -> npt.NDArray[np.float32] | None: ...
    @property
    def embedding(self) -> npt.NDArray[np.float32] | None: ...
    @property
    def tap(self) -> npt.NDArray[np.float32] | None: ...

@final
class TableWriter:
    def __new__(cls, path: str, values: str, top: int, threshold: float | None) -> TableWriter: ...
    def write(self, row: Row) -> None: ...
    def finish(self) -> None: ...

@final
class Stream:
    def __new__(cls, tagger: Tagger, settings: StreamSettings) -> Stream: ...
    def push(self, samples: npt.NDArray[Any]) -> int: ...
    def end(self) -> None: ...
    def reset(self) -> None: ...
    def next(self, timeout: float | None) -> UpdateFields | None: ...
    @property
    def has_ended(self) -> bool: ...
    @property
    def overrun_frames(self) -> int: ...
    @property
    def free_frames(self) -> int: ...

def finish() -> None: ...
def labels(model: str) -> list[str]: ...
def models() -> list[ModelFields]: ...
def run_program(arguments: list[str]) -> int: ...
