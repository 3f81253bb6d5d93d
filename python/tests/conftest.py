"""Shared fixtures."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tagwave

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "assets" / "demo.ogg"


def audio_files() -> list[Path]:
    """The demo, and the samples of the fixtures where they are present."""
    fixtures = os.environ.get("TAGWAVE_FIXTURES")
    samples = sorted((Path(fixtures) / "samples").glob("*.*")) if fixtures else []
    return [DEMO, *(path for path in samples if path.suffix in (".flac", ".mp3", ".ogg", ".wav"))]


@pytest.fixture(scope="session")
def files() -> list[Path]:
    found = audio_files()
    if len(found) == 1:
        message = "not run: samples of TAGWAVE_FIXTURES"
        assert not os.environ.get("REQUIRE_FIXTURES"), message
        warnings.warn(message, stacklevel=1)
    return found


@pytest.fixture(scope="session")
def demo() -> str:
    return str(DEMO)


@pytest.fixture(scope="session")
def tagger() -> tagwave.Tagger:
    return tagwave.Tagger(device="cpu")


@pytest.fixture(scope="session")
def program() -> list[str]:
    """The program built by cargo, else the one of the package."""
    built = os.environ.get("TAGWAVE_PROGRAM")
    return [built] if built else [console_script()]


def console_script() -> str:
    path = shutil.which("tagwave", path=os.path.dirname(sys.executable))
    assert path, "the package has no program beside this Python"
    return path


@pytest.fixture(scope="session")
def tone() -> Callable[..., np.ndarray]:
    """Makes two mixed tones in float64, with as many channels as wanted, which differ."""

    def make(seconds: float = 31.0, rate: int = 22_050, channels: int | None = None) -> np.ndarray:
        time = np.arange(round(seconds * rate)) / rate
        rows = [
            0.4 * np.sin(2 * np.pi * 440 * (1 + n) * time) + 0.2 * np.sin(2 * np.pi * 97 * time * time / 9)
            for n in range(channels or 1)
        ]
        return np.stack(rows) if channels else rows[0]

    return make
