"""The tagger."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from . import _native
from ._errors import TagwaveWarning
from ._rows import Rows
from ._samples import SamplesLike, as_rate, as_samples
from ._stream import Stream
from ._track import Floats, Track

if TYPE_CHECKING:
    from ._native import Settings

PathLike: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Tagger:
    """A model on a device.

    Threads may share a tagger; work releases the GIL. A process made by fork cannot use the taggers of its parent. A
    pickled tagger is its settings, and opens the model again.

    :param model: Name of a published model (:func:`models`), or path of a model file (docs/models.md).
    :param device: ``"auto"``, ``"cpu"``, ``"gpu"``, ``"reference"``, a number or part of a name from ``tagwave devices``;
        several that share the work are separated by commas.
    :param weights: Weight file, or folder that contains it; else ``$TAGWAVE_WEIGHTS`` and the per-user data folder are
        searched. The model ``small`` is built in.
    :param labels: Labels of the scores, for weights that were trained with others than the model's.
    :param compat: ``"corrected"``, or ``"original"`` with the mistakes of the original project.
    :param precision: Storage type on GPUs: ``"f32"`` or ``"f16"``.
    :param clips: Position of clips: ``"centre"``, ``"all"``, or the start of one clip in seconds.
    :param stride: Seconds between the starts of two clips, with ``clips="all"``; by default the length of a clip.
    :param pad: Padding of audio shorter than a clip: ``"zeros"`` or ``"repeat"``.
    :param aggregate: Aggregation of clips to a track: ``"mean"`` or ``"max"``.
    :param batch: Maximum number of clips per batch; by default it depends on the device.
    :param cpu_threads: Threads of the CPU executor; by default one per core.
    :param decode_threads: Decoder threads; by default one per core.
    :param tap: Step of the model whose output results hold, such as ``"mel"`` or ``"pool3"``; see :meth:`tap`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "small",
        device: str = "auto",
        *,
        weights: str | os.PathLike[str] | None = None,
        labels: Sequence[str] | None = None,
        compat: str = "corrected",
        precision: str = "f32",
        clips: str | float = "centre",
        stride: float | None = None,
        pad: str = "zeros",
        aggregate: str = "mean",
        batch: int | None = None,
        cpu_threads: int | None = None,
        decode_threads: int | None = None,
        tap: str | None = None,
    ) -> None:
        # Another process may have another working folder.
        is_path = isinstance(model, os.PathLike)
        self._open(
            {
                "model": os.path.abspath(model) if is_path else os.fspath(model),
                "device": device,
                "weights": None if weights is None else os.path.abspath(weights),
                "labels": None if labels is None else list(labels),
                "compat": compat,
                "precision": precision,
                "clips": clips,
                "stride": stride,
                "pad": pad,
                "aggregate": aggregate,
                "batch": batch,
                "cpu_threads": cpu_threads,
                "decode_threads": decode_threads,
                "tap": tap,
            }
        )

    def _open(self, settings: Settings) -> None:
        self._settings = settings
        self._native = _native.Tagger(settings)
        self._labels = tuple(self._native.labels)
        self._model = self._native.model
        self._compat = self._native.compat
        self._warn()

    @classmethod
    def _of(cls, settings: Settings) -> Tagger:
        tagger = cls.__new__(cls)
        tagger._open(settings)
        return tagger

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopen, (self._settings,))

    def __repr__(self) -> str:
        return f"<Tagger {self._model} on {self.device}>"

    def tag(self, audio: PathLike | SamplesLike, sample_rate: float | None = None) -> Track:
        """Tags a file, or samples.

        :param audio: Path of a file (str, bytes or PathLike), or samples: [frames] or [channels, frames] of float32 or
            float64 in -1 to 1, or of int16. Arrays of NumPy and tensors of other libraries on the CPU. Channels are mixed
            to mono.
        :param sample_rate: Rate of the samples in Hz, 1,000 to 768,000.
        :raises AudioError: The file cannot be tagged.
        :raises InputError: The samples cannot be tagged.
        """
        if isinstance(audio, (str, bytes, os.PathLike)):
            if sample_rate is not None:
                raise TypeError("sample_rate is for samples: a file has its own")
            path = os.fsdecode(audio)
            fields = self._native.tag_file(path)
        else:
            if sample_rate is None:
                raise TypeError("samples need a sample_rate")
            path = None
            fields = self._native.tag_samples(as_samples(audio), as_rate(sample_rate))
        self._warn()
        return Track._of(fields, path, self._labels, self._model, self._compat)

    def embed(self, audio: PathLike | SamplesLike, sample_rate: float | None = None) -> Floats:
        """The embedding of a file, or of samples: the features before the last dense layer, float32 [D]."""
        return self.tag(audio, sample_rate).embedding

    def tag_files(
        self,
        paths: Iterable[PathLike],
        *,
        batch: int | None = None,
        top: int = 5,
        threshold: float | None = None,
        on_error: str = "row",
    ) -> Rows:
        """Tags many files in batches; returns an iterator over their rows, in order.

        :param paths: Files. Any iterable: it is read about as far ahead as files are decoded.
        :param batch: Maximum number of clips per batch. Another than the tagger's opens the model once more.
        :param top: Number of ``tags`` in a row.
        :param threshold: Least score of ``tags`` in a row, 0 to 1, in place of ``top``.
        :param on_error: ``"row"`` for a row with the error of a file, ``"raise"`` for an exception, which ends the work.
        """
        tagger = self if batch in (None, self.batch) else self._with(batch=batch)
        return Rows(tagger._native, paths, self._labels, top=top, threshold=threshold, on_error=on_error)

    def tap(self, name: str) -> Tagger:
        """A tagger with the same settings, whose results also hold the output of a step of the model.

        ``tagger.tap("pool3").tag(path).tap`` is float32 [C, F, T] (channels, bands, frames), or of the shape that the
        step has. An unknown name is an error that lists all.
        """
        return self._with(tap=name)

    def stream(
        self,
        sample_rate: float,
        channels: int = 1,
        *,
        hop: float | None = None,
        window: float | None = None,
        buffer: float | None = None,
        smoothing: float | None = None,
        every_hop: bool = False,
    ) -> Stream:
        """Opens a stream of live audio.

        :param sample_rate: Rate in Hz.
        :param channels: Number of channels.
        :param hop: Seconds between updates, 0.05 to 3600; 1 by default.
        :param window: Seconds of audio that an update describes; at most, and by default, one clip.
        :param buffer: Seconds of audio that may wait; 4 by default.
        :param smoothing: Time constant of exponential smoothing of the scores in seconds; none by default.
        :param every_hop: Updates for all hops, for input that can wait; else hops that would be late are skipped.
        """
        stream = _native.Stream(
            self._native,
            {
                "sample_rate": as_rate(sample_rate),
                "channels": channels,
                "hop": hop,
                "window": window,
                "buffer": buffer,
                "smoothing": smoothing,
                "every_hop": every_hop,
            },
        )
        return Stream(stream, self._labels)

    @property
    def labels(self) -> list[str]:
        """Labels, in the order of the scores."""
        return list(self._labels)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    @property
    def device(self) -> str:
        """Name of the device, or names of all devices."""
        return self._native.device

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model in Hz; other audio is resampled."""
        return self._native.sample_rate

    @property
    def clip_samples(self) -> int:
        """Length of a clip in samples of the model."""
        return self._native.clip_samples

    @property
    def embedding_len(self) -> int:
        """Number of values of an embedding."""
        return self._native.embedding_len

    @property
    def batch(self) -> int:
        """Maximum number of clips per batch."""
        return self._native.batch

    @property
    def weights_digest(self) -> str | None:
        """SHA-256 of the weight file, if the weights come from one."""
        return self._native.weights_digest

    def _with(self, *, batch: int | None = None, tap: str | None = None) -> Tagger:
        settings = self._settings.copy()
        if batch is not None:
            settings["batch"] = batch
        if tap is not None:
            settings["tap"] = tap
        return Tagger._of(settings)

    def _warn(self) -> None:
        for warning in self._native.take_warnings():
            warnings.warn(warning, TagwaveWarning, stacklevel=3)


def _reopen(settings: Settings) -> Tagger:
    """Opens the tagger of a pickle."""
    return Tagger._of(settings)
