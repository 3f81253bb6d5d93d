"""Exceptions, by kind."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import tagwave


def test_files_that_cannot_be_tagged(tagger: tagwave.Tagger, tmp_path: Path) -> None:
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(b"not audio" * 500)
    empty = tmp_path / "empty.wav"
    empty.touch()
    for path in (noise, empty, tmp_path, tmp_path / "missing.flac"):
        with pytest.raises(tagwave.AudioError) as caught:
            tagger.tag(path)
        error = caught.value
        assert error.path == str(path) and str(error).startswith(str(path))
        assert error.kind in ("input", "unsupported")
        assert not isinstance(error, ValueError)


def test_a_path_that_is_no_utf_8_is_named(tagger: tagwave.Tagger) -> None:
    with pytest.raises(tagwave.AudioError):
        tagger.tag(b"missing-\xff.mp3")
    (row,) = tagger.tag_files([b"missing-\xff.mp3"])
    assert row["path"] == "missing-\udcff.mp3" and row["error"]["kind"] == "input"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": ""}, "device"),
        ({"device": "none"}, "none"),
        ({"compat": "restored"}, 'expected "corrected" or "original"'),
        ({"precision": "f64"}, "precision"),
        ({"pad": "mirror"}, "pad"),
        ({"aggregate": "sum"}, "aggregate"),
        ({"batch": 0}, "batch 0: expected 1 to 65535"),
        ({"cpu_threads": 5000}, "cpu_threads"),
        ({"decode_threads": 0}, "decode_threads"),
        ({"clips": "first"}, "clips"),
        ({"clips": -1.0}, "clips"),
        ({"stride": 3.0}, "stride needs"),
        ({"clips": "all", "stride": 0.0}, "stride 0"),
        ({"labels": ["one", "two"]}, "50 scores and 2 labels"),
        ({"tap": "no such layer"}, "pool3"),
    ],
)
def test_bad_settings_are_errors(settings: dict[str, object], message: str) -> None:
    with pytest.raises(tagwave.InputError, match=message):
        tagwave.Tagger(**{"device": "cpu", **settings})  # type: ignore[arg-type]


def test_models_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGWAVE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\xff" * 64)
    for model, message in [
        ("no-such-model", "small"),
        ("cnn", "tagwave weights fetch cnn"),
        (bad, "bad.safetensors"),
        (tmp_path / "missing.safetensors", "missing.safetensors"),
    ]:
        with pytest.raises(tagwave.ModelError, match=message):
            tagwave.Tagger(model, device="cpu")
    with pytest.raises(tagwave.ModelError):
        tagwave.labels("no-such-model")
    with pytest.raises(tagwave.DeviceError):
        tagwave.Tagger(device="no such adapter")


def test_arguments_of_wrong_types_are_errors(tagger: tagwave.Tagger, demo: str) -> None:
    with pytest.raises(TypeError):
        tagger.tag(demo, 44_100)
    with pytest.raises(TypeError):
        tagger.tag(np.zeros(30_000, np.float32))
    with pytest.raises(TypeError, match="one path"):
        tagger.tag_files(demo)
    with pytest.raises(TypeError):
        list(tagger.tag_files([3]))  # type: ignore[list-item]
    for options in ({"on_error": "ignore"}, {"top": -1}, {"threshold": 2.0}):
        with pytest.raises(tagwave.InputError):
            tagger.tag_files([demo], **options)  # type: ignore[arg-type]


def test_exceptions_are_pickled() -> None:
    error = tagwave.AudioError("a.mp3: empty", "input", "a.mp3")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is tagwave.AudioError
    assert (str(again), again.kind, again.path) == ("a.mp3: empty", "input", "a.mp3")
