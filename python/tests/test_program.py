"""The program: results of the package are those of the program, bit for bit, and the package carries it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tagwave

from conftest import console_script


def run(*words: object, timeout: float = 300) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(word) for word in words], capture_output=True, timeout=timeout)


def test_scores_are_those_of_the_program(
    tagger: tagwave.Tagger, files: list[Path], program: list[str], tmp_path: Path
) -> None:
    missing = tmp_path / "missing.mp3"
    paths = [*files, missing]
    lines = run(*program, "tag", "--device", "cpu", "--top", 50, *paths).stdout.decode().splitlines()
    expected = [json.loads(line) for line in lines]
    rows = list(tagger.tag_files(paths, top=50))
    assert len(rows) == len(expected) == len(paths)
    for row, line in zip(rows, expected):
        arrays = {name: row.pop(name) for name in ("scores", "embedding") if name in row}
        assert row == line
        if "error" not in row:
            assert dict(tagger.tag(row["path"]).top(50)) == dict(zip(tagger.labels, arrays["scores"].tolist()))
    assert "error" in rows[-1]


def test_tables_are_those_of_the_program(
    tagger: tagwave.Tagger, files: list[Path], program: list[str], tmp_path: Path
) -> None:
    names = [tmp_path / name for name in ("tags.parquet", "own-tags.parquet", "features.parquet", "own.parquet")]
    assert run(*program, "tag", "--device", "cpu", "--top", 50, "-o", names[0], *files).returncode == 0
    assert run(*program, "embed", "--device", "cpu", "-o", names[2], *files).returncode == 0
    tagger.tag_files(files, top=50).to_parquet(names[1])
    tagger.tag_files(files).to_parquet(names[3], values="embedding")
    # Scores and features are unrounded in tables.
    assert names[0].read_bytes() == names[1].read_bytes()
    assert names[2].read_bytes() == names[3].read_bytes()


def test_embeddings_are_those_of_the_program(
    tagger: tagwave.Tagger, files: list[Path], program: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "features.npy"
    assert run(*program, "embed", "--device", "cpu", "-o", output, *files).returncode == 0
    expected = np.load(output)
    rows = np.stack([row["embedding"] for row in tagger.tag_files(files)])
    assert rows.dtype == expected.dtype == np.float32
    assert rows.tobytes() == expected.tobytes()
    assert np.stack([tagger.embed(path) for path in files]).tobytes() == expected.tobytes()


def test_taps_are_those_of_the_program(
    tagger: tagwave.Tagger, demo: str, program: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "layer.npy"
    assert run(*program, "embed", "--device", "cpu", "--tap", "pool3", "-o", output, demo).returncode == 0
    expected = np.load(output)[0]
    tapped = tagger.tap("pool3")
    track = tapped.tag(demo)
    assert track.tap is not None and track.tap.ndim == 3
    assert track.tap.tobytes() == expected.tobytes() == track.clips[0].tap.tobytes()
    (row,) = tapped.tag_files([demo])
    assert row["tap"].shape == track.tap.shape and row["tap"].tobytes() == expected.tobytes()
    assert tagger.tag(demo).tap is None


def test_clips_are_those_of_the_program(demo: str, program: list[str]) -> None:
    tagger = tagwave.Tagger(device="cpu", clips="all", stride=10, aggregate="max")
    options = ["--clips", "all", "--stride", 10, "--aggregate", "max", "--per-clip", "--top", 50]
    line = json.loads(run(*program, "tag", "--device", "cpu", *options, demo).stdout)
    track = tagger.tag(demo)
    assert len(track.clips) == len(line["clips"]) == line.get("clip_count", 1)
    for clip, expected in zip(track.clips, line["clips"]):
        assert round(clip.start_s, 6) == expected["start_s"]
        assert [(tag, round(score, 6)) for tag, score in clip.top(50)] == [
            (tag["tag"], tag["score"]) for tag in expected["tags"]
        ]


def test_the_package_carries_the_program(demo: str) -> None:
    script = console_script()
    version = run(script, "--version")
    assert version.returncode == 0 and version.stdout.startswith(b"tagwave ")
    assert run(sys.executable, "-m", "tagwave", "--version").stdout == version.stdout
    tagged = run(script, "tag", "--device", "cpu", demo)
    assert tagged.returncode == 0 and json.loads(tagged.stdout)["path"] == demo
    assert run(script, "tag", "missing.mp3").returncode == 1
    assert run(script, "tag", "--no-such-option").returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_program_ends_at_ctrl_c(demo: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    lists = tmp_path / "songs.txt"
    lists.write_text(f"{demo}\n" * 10_000)
    # One command that ends in order, and one that leaves the signal to the system.
    for words, code in [
        (["tag", "--device", "cpu", "-o", str(rows), "--files-from", str(lists)], 130),
        (["selftest", "--device", "cpu"], -signal.SIGINT),
    ]:
        child = subprocess.Popen([console_script(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 60
            while code == 130 and not (rows.exists() and rows.stat().st_size):
                assert time.monotonic() < deadline and child.poll() is None
                time.sleep(0.05)
            time.sleep(1)
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=20)
        finally:
            child.kill()
        assert child.returncode == code, errors
    assert rows.read_text().endswith("}\n")
