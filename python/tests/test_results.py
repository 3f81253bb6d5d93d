"""Results, models and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tagwave

from conftest import ROOT


def test_facts_of_a_track(tagger: tagwave.Tagger, demo: str) -> None:
    track = tagger.tag(Path(demo))
    assert track.path == demo and (track.model, track.compat) == ("small", "corrected")
    assert track.labels == tuple(tagger.labels) and len(track.labels) == 50
    assert track.scores.dtype == track.embedding.dtype == np.float32
    assert track.embedding.shape == (tagger.embedding_len,) == (64,)
    assert track.track_s is not None and track.track_s > 0 and track.decoder == "symphonia"
    assert len(track.clips) == 1 and track.clips[0].device == tagger.device == "cpu"
    assert track.clips[0].scores.tobytes() == track.scores.tobytes()
    top = track.top(5)
    assert len(top) == 5 and top == sorted(top, key=lambda tag: -tag[1])
    assert top[0] == (track.labels[int(track.scores.argmax())], float(track.scores.max()))
    assert len(track.top(1000)) == 50 and track.top(0) == []
    assert "electronic" in repr(track) and "small" in repr(tagger)
    with pytest.raises(ValueError, match="expected a number"):
        track.top(-1)
    assert tagger.tag(np.zeros(30_000, np.int16), 22_050).path is None


def test_models_and_labels(tagger: tagwave.Tagger) -> None:
    models = {model.name: model for model in tagwave.models()}
    assert {"small", "crnn", "cnn", "compact"} <= set(models)
    small = models["small"]
    assert small.is_built_in and small.embedding_len == tagger.embedding_len
    assert (small.sample_rate, small.clip_samples) == (tagger.sample_rate, tagger.clip_samples)
    assert tagwave.labels("crnn") == tagwave.labels() == tagger.labels


def test_a_model_of_ones_own(demo: str, tagger: tagwave.Tagger, tmp_path: Path) -> None:
    weights = (ROOT / "weights" / "small" / "tagwave-small.safetensors").read_bytes()
    path = tmp_path / "mine.safetensors"
    path.write_bytes(weights)
    labels = [f"label {n}" for n in range(50)]
    mine = tagwave.Tagger(path, device="cpu", labels=labels)
    track = mine.tag(demo)
    assert track.labels == tuple(labels)
    assert track.scores.tobytes() == tagger.tag(demo).scores.tobytes()
    assert mine.weights_digest is not None


def test_notebooks_show_bars(tagger: tagwave.Tagger, demo: str, tmp_path: Path) -> None:
    path = tmp_path / "<b>&song.ogg"
    path.write_bytes(Path(demo).read_bytes())
    page = tagger.tag(path)._repr_html_()
    assert "&lt;b&gt;&amp;song.ogg" in page and "<b>&song" not in page
    assert page.count("<tr>") == 8 and "electronic" in page and "width:" in page


def test_plots(demo: str) -> None:
    pytest.importorskip("matplotlib", reason="not run: matplotlib is not installed").use("agg")
    import matplotlib.pyplot as plt

    one = tagwave.Tagger(device="cpu", tap="mel").tag(demo)
    assert one.tap is not None and one.tap.shape[0] == 1 and one.tap.ndim == 3
    upper, lower = one.plot()
    assert np.array_equal(upper.images[0].get_array(), one.tap[0])
    assert len(lower.patches) == 8
    several = tagwave.Tagger(device="cpu", clips="all", stride=10).tag(demo)
    (axes,) = several.plot(count=4)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [tag for tag, _ in several.top(4)[::-1]]
    axes.figure.canvas.draw()
    plt.close("all")
