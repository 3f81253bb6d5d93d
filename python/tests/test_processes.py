"""Threads, forks, pickles and memory."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tagwave

from conftest import DEMO

linux_only = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory of Linux")
posix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def scores_of(tagger: tagwave.Tagger) -> bytes:
    return tagger.tag(str(DEMO)).scores.tobytes()


def test_threads_share_a_tagger(tagger: tagwave.Tagger, demo: str) -> None:
    expected = scores_of(tagger)

    def work(n: int) -> bytes:
        if n % 2:
            return tagger.tag(demo).scores.tobytes()
        return [row["scores"].tobytes() for row in tagger.tag_files([demo, "missing.mp3"]) if "scores" in row][0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(24))) == {expected}


def test_other_threads_run_meanwhile(tagger: tagwave.Tagger, demo: str) -> None:
    over = threading.Event()
    longest = 0.0

    def watch() -> None:
        nonlocal longest
        before = time.monotonic()
        while not over.is_set():
            time.sleep(0.001)
            now = time.monotonic()
            longest, before = max(longest, now - before), now

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.monotonic()
    for _ in range(5):
        tagger.tag(demo)
    took = time.monotonic() - start
    over.set()
    watcher.join()
    # A call that held the interpreter would stop the watcher for a fifth of the time.
    assert longest < max(took / 10, 0.05), (longest, took)


@posix_only
def test_a_fork_is_refused() -> None:
    script = f"""
import os, sys, tagwave
tagger = tagwave.Tagger(device="cpu")
tagger.tag({str(DEMO)!r})
rows, stream = tagger.tag_files([{str(DEMO)!r}] * 4), tagger.stream(22050)
next(rows)
child = os.fork()
if child == 0:
    uses = [lambda: tagger.tag({str(DEMO)!r}), lambda: tagger.tag_files([]), lambda: next(rows), lambda: stream.next(0)]
    for use in uses:
        try:
            use()
            print("used")
        except tagwave.TagwaveError as error:
            assert "spawn" in str(error) and error.kind == "unsupported", error
            print("refused")
    again = tagwave.Tagger(device="cpu")
    print(len(again.tag({str(DEMO)!r}).scores))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print("ended", len(list(rows)), flush=True)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, timeout=60)
    assert done.stdout.split() == [b"refused"] * 4 + [b"50", b"ended", b"3"], done


def test_spawned_processes_open_the_tagger_again() -> None:
    tagger = tagwave.Tagger(device="cpu", pad="repeat", batch=2)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        assert set(pool.map(scores_of, [tagger] * 4)) == {scores_of(tagger)}


def test_taggers_and_results_are_pickled(demo: str, tmp_path: Path) -> None:
    tagger = tagwave.Tagger(device="cpu", clips=3.0, tap="mel")
    again = pickle.loads(pickle.dumps(tagger))
    track = tagger.tag(demo)
    other = again.tag(demo)
    assert track.tap is not None and other.tap is not None
    assert (track.scores.tobytes(), track.tap.tobytes()) == (other.scores.tobytes(), other.tap.tobytes())
    loaded = pickle.loads(pickle.dumps(track))
    assert loaded.top() == track.top() and loaded.clips[0].start_s == 3.0


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@linux_only
def test_a_thousand_calls_leak_nothing(tagger: tagwave.Tagger, tmp_path: Path) -> None:
    samples = np.sin(np.arange(30_000, dtype=np.float32) * 0.06)
    missing = str(tmp_path / "missing.mp3")

    def call(count: int) -> None:
        for n in range(count):
            if n % 4:
                assert len(tagger.tag(samples, 12_000).scores) == 50
            else:
                with pytest.raises(tagwave.AudioError):
                    tagger.tag(missing)
            if n % 50 == 0:
                list(tagger.tag_files([missing] * 20))

    call(300)
    before = resident_bytes()
    call(1000)
    grown = resident_bytes() - before
    # The thousand copies of the samples alone are 120 MB.
    assert grown < 12e6, f"{grown / 1e6:.1f} MB more"
