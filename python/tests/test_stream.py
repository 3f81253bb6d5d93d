"""Live audio."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import tagwave


def test_updates_are_those_of_the_track(tagger: tagwave.Tagger, tone: Callable[..., np.ndarray]) -> None:
    rate = tagger.sample_rate
    samples = np.stack([tone(seconds=32, rate=rate).astype(np.float32)] * 2)
    updates = []
    stream = tagger.stream(rate, channels=2, every_hop=True)

    def feed() -> None:
        place = 0
        while place < samples.shape[1]:
            place += stream.push(samples[:, place : place + 4096])
        stream.end()

    feeder = threading.Thread(target=feed)
    feeder.start()
    for update in stream:
        updates.append(update)
    feeder.join()
    assert stream.has_ended and stream.next(0.1) is None
    assert [update.end_s for update in updates[:3]] == pytest.approx([1, 2, 3], abs=0.1)
    last = updates[-1]
    assert last.scores.shape == (50,) and last.heard_s == pytest.approx(29.1, abs=0.1)
    first = round(last.start_s * rate)
    track = tagger.tag(samples[:, first : first + tagger.clip_samples], rate)
    assert last.scores.tobytes() == track.scores.tobytes()
    assert last.top(3) == track.top(3) and last.device == "cpu"
    with pytest.raises(tagwave.InputError, match="ended"):
        stream.push(samples[:, :10])


def test_streams_wait_and_reset(tagger: tagwave.Tagger) -> None:
    with tagger.stream(12_000, hop=0.5) as stream:
        assert stream.next(timeout=0.05) is None and not stream.has_ended
        assert stream.free_frames > 0
        assert stream.push(np.zeros(7000, np.int16)) == 7000
        update = stream.next(timeout=20)
        assert update is not None and update.is_silent and update.skipped == 0
        stream.reset()
        with pytest.raises(tagwave.InputError, match="2 channels"):
            stream.push(np.zeros((2, 100), np.float32))
        with pytest.raises(tagwave.InputError, match="timeout"):
            stream.next(timeout=-1)
        pushed = stream.push(np.zeros(12_000 * 60, np.int16))
        assert pushed < 12_000 * 60 and stream.overrun_frames == 12_000 * 60 - pushed


@pytest.mark.parametrize(
    "settings", [{"channels": 0}, {"channels": 65}, {"hop": 0.0}, {"hop": float("nan")}, {"window": -1.0}]
)
def test_bad_settings_are_errors(tagger: tagwave.Tagger, settings: dict[str, float]) -> None:
    with pytest.raises(tagwave.InputError):
        tagger.stream(48_000, **settings)  # type: ignore[arg-type]
    with pytest.raises(tagwave.InputError, match="sample_rate"):
        tagger.stream(1)
