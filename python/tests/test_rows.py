"""Rows of many files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tagwave

from conftest import DEMO


def test_rows_are_in_order_and_errors_are_rows(tagger: tagwave.Tagger, demo: str) -> None:
    paths = [demo if n % 10 == 0 else f"missing-{n}.mp3" for n in range(300)]
    rows = tagger.tag_files(paths, threshold=0.1)
    assert len(rows) == 300 and rows
    found = list(rows)
    assert [row["path"] for row in found] == paths
    expected = tagger.tag(demo)
    for n, row in enumerate(found):
        if n % 10 == 0:
            assert row["scores"].tobytes() == expected.scores.tobytes()
            assert row["embedding"].tobytes() == expected.embedding.tobytes()
            assert all(tag["score"] >= 0.1 for tag in row["tags"])
        else:
            assert row["error"]["kind"] == "input" and "scores" not in row
    assert list(rows) == []


def test_the_first_error_is_raised(tagger: tagwave.Tagger, demo: str) -> None:
    rows = tagger.tag_files([demo, "missing.mp3", demo], on_error="raise")
    assert next(rows)["path"] == demo
    with pytest.raises(tagwave.AudioError) as caught:
        next(rows)
    assert caught.value.path == "missing.mp3"
    assert list(rows) == []


def test_paths_are_read_as_they_are_needed(tagger: tagwave.Tagger) -> None:
    given = 0

    def paths() -> Iterator[str]:
        nonlocal given
        for given in range(1, 100_001):
            yield f"missing-{given}.mp3"

    rows = tagger.tag_files(paths())
    with pytest.raises(TypeError):
        len(rows)
    assert next(rows)["path"] == "missing-1.mp3"
    for row, _ in zip(rows, range(1000)):
        assert row["error"]["kind"] == "input"
    assert given < 3000
    rows.close()
    assert list(rows) == []


def test_an_exception_of_the_paths_is_that_of_the_rows(tagger: tagwave.Tagger, demo: str) -> None:
    def paths() -> Iterator[str]:
        yield demo
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(tagger.tag_files(paths()))
    # The tagger can be used again.
    assert len(list(tagger.tag_files([demo]))) == 1


def test_slow_paths_do_not_hold_rows_back(tagger: tagwave.Tagger) -> None:
    def paths() -> Iterator[str]:
        yield "missing-1.mp3"
        for _ in range(20):
            time.sleep(0.1)
            yield "missing-2.mp3"

    start = time.monotonic()
    next(tagger.tag_files(paths()))
    assert time.monotonic() - start < 1.5


def test_batches_do_not_change_rows(tagger: tagwave.Tagger, demo: str) -> None:
    rows = [list(tagger.tag_files([demo] * 3, batch=batch)) for batch in (None, 1, 2)]
    assert len({row["scores"].tobytes() for row in sum(rows, [])}) == 1
    with pytest.raises(tagwave.InputError, match="batch"):
        tagger.tag_files([demo], batch=0)


def test_an_interrupt_ends_the_loop(tagger: tagwave.Tagger, demo: str) -> None:
    def interrupt() -> None:
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT) if os.name != "posix" else os.kill(os.getpid(), signal.SIGINT)

    # While a batch is computed, and while rows are taken.
    for delay in (0.01, 0.3, 0.7):
        sent: list[float] = []
        with pytest.raises(KeyboardInterrupt):
            for n, _ in enumerate(tagger.tag_files(demo for _ in range(1_000_000))):
                if n == 0:
                    threading.Timer(delay, interrupt).start()
        took = time.monotonic() - sent[0]
        assert took < 0.5, took
    assert len(list(tagger.tag_files([demo]))) == 1


def test_a_program_ends_soon_after_an_interrupt() -> None:
    script = (
        "import tagwave, sys\n"
        "tagger = tagwave.Tagger(device='cpu')\n"
        f"for n, row in enumerate(tagger.tag_files([{str(DEMO)!r}] * 100000)):\n"
        "    if n == 3: print('begun', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert child.stdout and child.stdout.readline().strip() == b"begun"
        child.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, errors = child.communicate(timeout=30)
    finally:
        child.kill()
    assert b"KeyboardInterrupt" in errors and child.returncode in (130, -signal.SIGINT, 1)
    assert time.monotonic() - start < 6


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads of Linux")
def test_leaving_a_loop_ends_the_work(tagger: tagwave.Tagger, demo: str) -> None:
    before = thread_count()
    for row in tagger.tag_files([demo] * 10_000):
        assert row["path"] == demo
        assert thread_count() > before
        break
    deadline = time.monotonic() + 20
    while thread_count() > before:
        assert time.monotonic() < deadline, "threads go on"
        time.sleep(0.05)


def thread_count() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_tables_of_pyarrow(tagger: tagwave.Tagger, demo: str, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="not run: pyarrow is not installed")
    table = tagger.tag_files([demo, "missing.mp3", b"missing-\xff.mp3"]).to_arrow()
    assert table.num_rows == 3 and table["path"].to_pylist()[:2] == [demo, "missing.mp3"]
    track = tagger.tag(demo)
    assert np.float32(table["scores"][0].as_py()).tobytes() == track.scores.tobytes()
    assert np.float32(table["embedding"][0].as_py()).tobytes() == track.embedding.tobytes()
    assert table["scores"][1].as_py() is None and table["error"][1].as_py()["kind"] == "input"
    assert table["error"][0].as_py() is None and table["clip_count"][0].as_py() == 1
    assert table.schema.field("scores").type == pa.list_(pa.float32())
    import json

    assert json.loads(table.schema.field("scores").metadata[b"labels"]) == tagger.labels
    import pyarrow.parquet as pq

    tagger.tag_files([demo, "missing.mp3"], top=3).to_parquet(tmp_path / "rows.parquet")
    written = pq.read_table(tmp_path / "rows.parquet")
    assert written["tags"][0].as_py() == [tag for tag, _ in track.top(3)]
    assert written["error_kind"].to_pylist() == [None, "input"]


def test_a_table_is_whole_or_not_there(tagger: tagwave.Tagger, demo: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with pytest.raises(tagwave.AudioError):
        tagger.tag_files([demo, "missing.mp3"], on_error="raise").to_parquet(path)
    assert not path.exists() and not list(tmp_path.iterdir())
    with pytest.raises(tagwave.InputError, match="values"):
        tagger.tag_files([demo]).to_parquet(path, values="everything")
    with pytest.raises(OSError, match="no-such-folder"):
        tagger.tag_files([demo]).to_parquet(tmp_path / "no-such-folder" / "rows.parquet")
