"""Results, and how notebooks show them."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._native import ClipFields, TrackFields

Floats = npt.NDArray[np.float32]


def top_tags(labels: tuple[str, ...], scores: Floats, count: int) -> list[tuple[str, float]]:
    """The ``count`` tags with the highest scores, highest first."""
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"{count!r} tags: expected a number from 0")
    order = np.argsort(-scores, kind="stable")[:count]
    return [(labels[index], float(scores[index])) for index in order]


@dataclass(frozen=True, eq=False)
class Clip:
    """Result of one clip."""

    #: Start in the track, in seconds.
    start_s: float
    #: A score in 0 to 1 for each label: float32 [labels].
    scores: Floats
    #: The features before the last dense layer: float32 [D].
    embedding: Floats
    #: Output of the tapped step: float32 [C, F, T], or of the shape that the step has; ``None`` without a tap.
    tap: Floats | None
    #: Name of the device that it ran on.
    device: str
    #: Labels, in the order of the scores.
    labels: tuple[str, ...]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The ``count`` tags with the highest scores, highest first, as (tag, score)."""
        return top_tags(self.labels, self.scores, count)


@dataclass(frozen=True, eq=False)
class Track:
    """Result of one track: scores, embedding, and the facts of how they came about."""

    #: File, or ``None`` for samples.
    path: str | None
    #: Labels, in the order of the scores.
    labels: tuple[str, ...]
    #: A score in 0 to 1 for each label, aggregated over clips: float32 [labels].
    scores: Floats
    #: The features before the last dense layer, aggregated over clips: float32 [D].
    embedding: Floats
    #: Output of the tapped step, aggregated over clips: float32 [C, F, T], or of the shape that the step has; ``None``
    #: without a tap.
    tap: Floats | None
    #: Results of the clips.
    clips: tuple[Clip, ...]
    #: Warnings about the audio: damaged, short, silent.
    warnings: tuple[str, ...]
    #: Length of the track in seconds, if known.
    track_s: float | None
    #: Name of the decoder: ``tagwave``, ``tagwave-full``, ``symphonia``, ``ffmpeg``; ``none`` for samples.
    decoder: str
    #: Name of the model.
    model: str
    #: Compatibility with the original: ``corrected`` or ``original``.
    compat: str

    @classmethod
    def _of(
        cls, fields: TrackFields, path: str | None, labels: tuple[str, ...], model: str, compat: str
    ) -> Track:
        def clip(fields: ClipFields) -> Clip:
            return Clip(labels=labels, **fields)

        others = {name: value for name, value in fields.items() if name not in ("clips", "warnings")}
        return cls(
            path=path,
            labels=labels,
            clips=tuple(map(clip, fields["clips"])),
            warnings=tuple(fields["warnings"]),
            model=model,
            compat=compat,
            **others,  # type: ignore[arg-type]
        )

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The ``count`` tags with the highest scores, highest first, as (tag, score)."""
        return top_tags(self.labels, self.scores, count)

    def __repr__(self) -> str:
        tags = ", ".join(f"{tag} {score:.3f}" for tag, score in self.top(3))
        return f"<Track {self.path or 'of samples'}: {tags}>"

    def _repr_html_(self) -> str:
        def row(tag: str, score: float) -> str:
            width = 100.0 * min(max(score, 0.0), 1.0)
            bar = f'<div style="width:{width:.1f}%;height:0.8em;background:#4a7ebb"></div>'
            name = html.escape(tag)
            return (
                f'<tr><td style="text-align:left">{name}</td><td>{score:.3f}</td><td style="width:16em">{bar}</td></tr>'
            )

        title = html.escape(self.path or "samples")
        facts = html.escape(f"{self.model}, {self.compat}")
        rows = "".join(row(tag, score) for tag, score in self.top(8))
        notes = "".join(f"<li>{html.escape(warning)}</li>" for warning in self.warnings)
        return (
            f"<div><b>{title}</b> ({facts})<table>{rows}</table>" + (f"<ul>{notes}</ul>" if notes else "") + "</div>"
        )

    def plot(self, count: int = 8) -> Any:
        """Draws the ``count`` highest tags with pyplot (``pip install tagwave[plot]``), and returns the list of axes.

        With several clips (``Tagger(clips="all")``) scores are drawn over time, else as bars. The spectrogram is drawn
        above them if it is the tap (``Tagger(tap="mel")``) and there is one clip: results hold nothing else of the
        audio.
        """
        from ._plot import plot

        return plot(self, count)
