"""Samples: types, layouts, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tagwave

Tone = Callable[..., np.ndarray]


def bits(track: tagwave.Track) -> bytes:
    assert track.scores.dtype == np.float32 and track.scores.shape == (50,)
    return track.scores.tobytes() + track.embedding.tobytes()


def test_types_have_the_same_scores(tagger: tagwave.Tagger, tone: Tone) -> None:
    integers = np.round(tone() * 32767).astype(np.int16)
    floats = integers.astype(np.float32) / np.float32(32768)
    expected = bits(tagger.tag(floats, 22_050))
    same = [integers, floats.astype(np.float64), floats.astype(">f4"), integers.astype(">i2"), floats.tolist()]
    same += [floats[np.newaxis], memoryview(floats)]
    assert [bits(tagger.tag(samples, 22_050)) for samples in same] == [expected] * len(same)
    assert tagger.embed(floats, 22_050.0).tobytes() == tagger.tag(floats, 22_050).embedding.tobytes()


def test_layouts_have_the_same_scores(tagger: tagwave.Tagger, tone: Tone) -> None:
    stereo = np.ascontiguousarray(tone(channels=2).astype(np.float32))
    expected = bits(tagger.tag(stereo, 22_050))
    frames_first = np.ascontiguousarray(stereo.T)
    wide = np.zeros((4, 2 * stereo.shape[1] + 1), np.float32)
    wide[::2, 1::2] = stereo
    packed = np.zeros(stereo.shape[1], np.dtype([("flag", "i1"), ("left", "<f4")]))
    packed["left"] = stereo[0]
    fortran, view = np.asfortranarray(stereo), wide[::2, 1::2]
    reversed_twice = np.ascontiguousarray(stereo[:, ::-1])[:, ::-1]
    same = [frames_first.T, fortran, view, reversed_twice, np.broadcast_to(stereo, stereo.shape)]
    assert not view.flags.c_contiguous
    assert [bits(tagger.tag(samples, 22_050)) for samples in same] == [expected] * len(same)
    assert not packed["left"].flags.aligned
    assert bits(tagger.tag(packed["left"], 22_050)) == bits(tagger.tag(stereo[0], 22_050))
    # Channels are mixed: both count, and equal ones are one.
    assert expected != bits(tagger.tag(stereo[0], 22_050))
    assert bits(tagger.tag(np.stack([stereo[0]] * 2), 22_050)) == bits(tagger.tag(stereo[0], 22_050))


class Tensor:
    """Tensor of another library: DLPack only."""

    def __init__(self, array: np.ndarray, device: int = 1) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: object) -> object:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self.device, 0)


def test_tensors_are_read(tagger: tagwave.Tagger, tone: Tone) -> None:
    samples = tone().astype(np.float32)
    expected = bits(tagger.tag(samples, 22_050))
    assert bits(tagger.tag(Tensor(samples), 22_050)) == expected

    class Interface:
        __array_interface__ = samples.__array_interface__

    assert bits(tagger.tag(Interface(), 22_050)) == expected
    with pytest.raises(tagwave.InputError, match="GPU.*cpu"):
        tagger.tag(Tensor(samples, device=2), 22_050)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(9000, np.int32), "int32.*expected float32"),
        (np.zeros(9000, np.complex64), "complex64"),
        (np.zeros(9000, bool), "bool"),
        (np.zeros((9000, 2), np.float32), "transpose"),
        (np.zeros((0, 9000), np.float32), "1 to 64 channels"),
        (np.zeros((1, 2, 9000), np.float32), "shape"),
        (np.float32(0.5), "shape"),
        (np.zeros(0, np.float32), "."),
        ([[0.1, 0.2], [0.3]], "array"),
        (["a", "b"], "."),
        (object(), "."),
        (np.full(30_000, np.nan, np.float32), "."),
        (np.full(30_000, 1e30), "too large"),
    ],
)
def test_bad_samples_are_errors(tagger: tagwave.Tagger, samples: object, message: str) -> None:
    with pytest.raises(tagwave.InputError, match=message) as caught:
        tagger.tag(samples, 22_050)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError) and caught.value.kind == "input"


@pytest.mark.parametrize("rate", [0, -1, 999, 768_001, 1 << 40, 1.5, float("nan"), "44100"])
def test_bad_rates_are_errors(tagger: tagwave.Tagger, rate: object) -> None:
    with pytest.raises(tagwave.InputError, match="sample_rate"):
        tagger.tag(np.zeros(30_000, np.float32), rate)  # type: ignore[arg-type]


def test_short_and_silent_audio_has_warnings(tagger: tagwave.Tagger, tone: Tone) -> None:
    assert any("shorter" in warning for warning in tagger.tag(tone(seconds=2), 22_050).warnings)
    assert any("silent" in warning for warning in tagger.tag(np.zeros(700_000, np.int16), 22_050).warnings)


def test_array_of_the_caller_is_not_kept(tagger: tagwave.Tagger, tone: Tone) -> None:
    import sys

    samples = tone().astype(np.float32)
    before, copy = sys.getrefcount(samples), samples.copy()
    tagger.tag(samples, 22_050)
    assert sys.getrefcount(samples) == before and (samples == copy).all()
