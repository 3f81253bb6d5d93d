"""Published models, and labels."""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import _native


@dataclass(frozen=True)
class ModelInfo:
    """Properties of a published model."""

    #: Name for ``Tagger(model=...)``.
    name: str
    #: Description in one line.
    title: str
    #: Sample rate in Hz to which audio is resampled.
    sample_rate: int
    #: Length of a clip in samples at this rate.
    clip_samples: int
    #: Number of values of an embedding.
    embedding_len: int
    #: True if the weights are part of the package.
    is_built_in: bool
    #: Mean ROC-AUC that the original states, if it states one.
    stated_auc: float | None


def models() -> list[ModelInfo]:
    """The published models."""
    return [ModelInfo(**fields) for fields in _native.models()]


def labels(model: str | os.PathLike[str] = "small") -> list[str]:
    """Labels of a model by its name, or of a model file, in the order of the scores."""
    return _native.labels(os.fspath(model))
