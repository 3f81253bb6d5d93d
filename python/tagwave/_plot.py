"""Drawings of results, with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._track import Track


def plot(track: Track, count: int) -> Any:
    """Draws the tags of a track, and its spectrogram if the result holds it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'tagwave[plot]'") from error
    spectrogram = _spectrogram(track)
    figure = plt.figure(figsize=(8, 3 if spectrogram is None else 5), layout="constrained")
    if spectrogram is None:
        axes = figure.subplots()
    else:
        upper, axes = figure.subplots(2, height_ratios=(2, 3))
        image = upper.imshow(spectrogram, origin="lower", aspect="auto", interpolation="nearest")
        upper.set(xlabel="frame", ylabel="band")
        figure.colorbar(image, ax=upper, label="dB")
    _draw_tags(track, count, figure, axes)
    figure.suptitle(track.path or "samples")
    # Not the figure, which notebooks would show twice.
    return [axes] if spectrogram is None else [upper, axes]


def _spectrogram(track: Track) -> Any:
    """Spectrogram [bands, frames] of a track of one clip; ``None`` if the tap is something else."""
    is_image = track.tap is not None and track.tap.ndim == 3 and track.tap.shape[0] == 1
    return track.tap[0] if is_image and len(track.clips) == 1 and track.tap is not None else None


def _draw_tags(track: Track, count: int, figure: Any, axes: Any) -> None:
    tags = track.top(count)[::-1]
    names = [tag for tag, _ in tags]
    if len(track.clips) < 2:
        axes.barh(names, [score for _, score in tags])
        axes.set(xlabel="score", xlim=(0, 1))
        return
    places = [track.labels.index(name) for name in names]
    scores = np.stack([clip.scores[places] for clip in track.clips], axis=1)
    starts = [clip.start_s for clip in track.clips]
    image = axes.pcolormesh(starts, np.arange(len(names)), scores, shading="nearest", vmin=0)
    axes.set(xlabel="start of the clip in seconds", yticks=np.arange(len(names)), yticklabels=names)
    figure.colorbar(image, ax=axes, label="score")
