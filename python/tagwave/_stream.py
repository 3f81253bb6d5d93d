"""Live audio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from . import _native
from ._samples import SamplesLike, as_samples
from ._track import Floats, top_tags


@dataclass(frozen=True, eq=False)
class StreamUpdate:
    """Tags of the window before a hop."""

    #: Start of the window, in seconds since the last reset.
    start_s: float
    #: End of the window.
    end_s: float
    #: Length of the audio in the window, in seconds: less than a clip at first.
    heard_s: float
    #: A score in 0 to 1 for each label: float32 [labels].
    scores: Floats
    #: The features before the last dense layer: float32 [D].
    embedding: Floats
    #: True if the window is silent.
    is_silent: bool
    #: Number of updates left out before this one, because the device was too slow.
    skipped: int
    #: Number of frames that did not fit the buffer so far.
    overrun_frames: int
    #: Name of the device.
    device: str
    #: Labels, in the order of the scores.
    labels: tuple[str, ...]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The ``count`` tags with the highest scores, highest first, as (tag, score)."""
        return top_tags(self.labels, self.scores, count)


class Stream:
    """Tagging of live audio; made by :meth:`Tagger.stream`.

    One thread pushes, another takes updates: with :meth:`next`, or in a loop, which ends after :meth:`end`.
    """

    def __init__(self, stream: _native.Stream, labels: tuple[str, ...]) -> None:
        self._stream = stream
        self._labels = labels

    def push(self, samples: SamplesLike) -> int:
        """Appends samples, [frames] or [channels, frames] as for :meth:`Tagger.tag`.

        Returns the number of frames taken; the others did not fit the buffer.
        """
        return self._stream.push(as_samples(samples))

    def next(self, timeout: float | None = None) -> StreamUpdate | None:
        """Waits for the next update; ``None`` if there is none within ``timeout`` seconds, or after the last one."""
        fields = self._stream.next(timeout)
        return None if fields is None else StreamUpdate(labels=self._labels, **fields)

    def __iter__(self) -> Iterator[StreamUpdate]:
        while (update := self.next()) is not None:
            yield update

    def end(self) -> None:
        """Ends the input; the last updates follow."""
        self._stream.end()

    def reset(self) -> None:
        """Discards what was heard so far, after a seek or a change of track: times begin at 0 again."""
        self._stream.reset()

    @property
    def has_ended(self) -> bool:
        """True after the last update."""
        return self._stream.has_ended

    @property
    def free_frames(self) -> int:
        """Number of frames that can be pushed now."""
        return self._stream.free_frames

    @property
    def overrun_frames(self) -> int:
        """Number of frames that did not fit the buffer so far."""
        return self._stream.overrun_frames

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
