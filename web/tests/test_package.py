"""The package in Chromium: its results are those of the program, on the GPU and on the CPU.

TAGWAVE_WEB_DIST   folder of the built site
TAGWAVE_PROGRAM    the program of the same sources
"""

import json
import os
import re
import subprocess

import pytest
from chromium import DIST, MOCK, ROOT, launch, served

PROGRAM = os.environ.get("TAGWAVE_PROGRAM")
pytestmark = pytest.mark.skipif(not DIST or bool(MOCK), reason="TAGWAVE_WEB_DIST names no built site")

TAG = """async ([device, clips]) => {
  const { Tagger } = await import('./package/tagwave.js');
  const tagger = await Tagger.create({ device });
  const bytes = await (await fetch('demo.ogg')).arrayBuffer();
  const result = await tagger.tagFile(bytes, { clips });
  const samples = new Float32Array(12000 * 30).map((_, i) => Math.sin(i / 9) / 2);
  const cancelled = new AbortController();
  const stopped = tagger.tagFile(bytes, { signal: cancelled.signal, onProgress: () => cancelled.abort() })
    .then(() => 'finished', error => error.name);
  const found = {
    device: tagger.device, decoder: result.decoder, seconds: result.seconds, labels: tagger.labels,
    scores: [...result.scores], clips: result.clips.length, frames: result.mel.frames, bands: result.mel.bands,
    length: bytes.byteLength, sine: [...(await tagger.tag(samples, 12000)).scores], stopped: await stopped,
    broken: await tagger.tagFile(new Uint8Array(1000)).then(() => 'tagged', error => [error.kind, error.message]),
    again: [...(await tagger.tagFile(bytes, { clips })).scores],
  };
  tagger.free();
  found.freed = await tagger.tagFile(bytes).then(() => 'tagged', error => error.kind);
  return found;
}"""


@pytest.fixture
def site(browser):
    with served() as address:
        page = browser.new_page()
        # Without the page's policy, which forbids text as code.
        page.goto(address + "icon.svg")
        yield page
        page.close()


@pytest.fixture(scope="session")
def expected():
    if not PROGRAM:
        pytest.skip("TAGWAVE_PROGRAM names no program")
    command = [PROGRAM, "tag", "--device", "cpu", "--top", "50", "--format", "jsonl", str(ROOT / "assets/demo.ogg")]
    row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {tag["tag"]: tag["score"] for tag in row["tags"]}


@pytest.mark.parametrize("device, tolerance", [("cpu", 1e-5), ("webgpu", 1e-4)])
def test_tags_are_those_of_the_program(site, expected, device, tolerance):
    found = site.evaluate(TAG, [device, "one"])
    assert found["device"]["kind"] == device and found["decoder"] == "symphonia"
    assert (found["clips"], found["bands"], found["seconds"]) == (1, 96, 32)
    scores = dict(zip(found["labels"], found["scores"]))
    worst = max(abs(scores[tag] - score) for tag, score in expected.items())
    print(f"{device}: largest difference of a score {worst:.1e}")
    assert len(scores) == 50 and worst < tolerance
    assert found["again"] == found["scores"] and found["sine"] != found["scores"]
    assert found["length"] > 0, "the bytes stay the caller's"
    assert found["stopped"] == "AbortError"
    assert found["broken"][0] in ("input", "unsupported") and found["broken"][1]
    assert found["freed"] == "cancelled"


@pytest.mark.parametrize("device", ["cpu", "webgpu"])
def test_kernels_agree_with_their_reference(browser, device):
    with served() as address:
        page = browser.new_page()
        page.goto(address + "selftest.html#quick")
        page.click(f"#run-{device}")
        verdict = page.locator("#verdict")
        for _ in range(600):
            if re.search("failed|Stopped", verdict.inner_text()):
                break
            page.wait_for_timeout(500)
        lines = page.locator("#lines").inner_text()
        assert re.search(r": \d{2,} checks, 0 failed", verdict.inner_text()), verdict.inner_text() + lines
        assert lines.count("ok ") >= 60, lines
        page.close()


def test_spectrograms_end_with_the_audio(site):
    found = site.evaluate("""async () => {
      const { Tagger } = await import('./package/tagwave.js');
      const tagger = await Tagger.create({ device: 'cpu' });
      const bytes = await (await fetch('demo.ogg')).arrayBuffer();
      const samples = new Float32Array(44100 * 50).map((_, i) => Math.sin(i / 9) / 2);
      const results = [
        await tagger.tagFile(bytes), await tagger.tag(samples.subarray(0, 44100 * 5), 44100), await tagger.tag(samples, 44100),
      ];
      const wrong = await tagger.tagFile(new Blob([bytes])).catch(error => error.kind);
      tagger.free();
      return [results.map(({ clips, mel }) => [clips.map(clip => clip.start), mel.frames, mel.values.length / mel.bands]), wrong];
    }""")
    (demo, short, long), wrong = found
    # The demo has 32 s: the rest after a clip is less than half a clip.
    assert demo == [[0], 1366, 1366]
    assert short == [[0], 235, 235]
    assert long == [[0, 20.88], 2344, 2344]
    assert wrong == "input"


def test_without_an_adapter_the_cpu_says_so(playwright, browser):
    with served() as address:
        other = launch(playwright, ["--disable-gpu"])
        page = other.new_page()
        page.goto(address + "icon.svg")
        device = page.evaluate("""async () => {
          const { Tagger } = await import('./package/tagwave.js');
          return (await Tagger.create()).device;
        }""")
        assert device["kind"] == "cpu" and "WebGPU" in device["note"], device
        refused = page.evaluate("""async () => {
          const { Tagger } = await import('./package/tagwave.js');
          return Tagger.create({ device: 'webgpu' }).then(() => 'opened', error => [error.kind, error.message]);
        }""")
        assert refused[0] == "device" and "WebGPU" in refused[1], refused
        other.close()
