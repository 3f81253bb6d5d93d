"""The page in Chromium, as a visitor uses it.

    pip install pytest playwright
    pytest web/tests/test_page.py

TAGWAVE_WEB_DIST         folder of the built site: index.html, package/ and demo.ogg at its top. Without it the page is
                         tested as it is in the repository, with the stand-in of the package in web/tests/mock.
TAGWAVE_WEB_MOCK         folder that takes the place of package/
TAGWAVE_WEB_SCREENSHOTS  folder for pictures of the page
TAGWAVE_CHROMIUM         program to start, if it is not /usr/bin/chromium
"""

import array
import csv
import io
import json
import math
import random
import re
import wave
from pathlib import Path

import pytest
from chromium import DIST, MOCK, PICTURES, ROOT, launch, served
from playwright.sync_api import expect

# A software GPU tags a clip in seconds.
expect.set_options(timeout=15_000 if MOCK else 60_000)
# A software driver is slower than the CPU, so it is not taken unasked.
USUAL_DEVICE = "Runs on the GPU" if MOCK else "Runs on the CPU"


def opened(browser, address, path="", **options):
    """A page whose errors and requests to other hosts fail the test."""
    context = browser.new_context(accept_downloads=True, **options)
    context.wrong = []

    def check(request):
        # blob: addresses are the player's.
        if not request.url.startswith((address, "blob:")):
            context.wrong.append(request.url)

    context.on("request", check)
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and context.wrong.append(message.text))
    page.on("pageerror", lambda error: context.wrong.append(str(error)))
    page.goto(address + path)
    return page


@pytest.fixture
def page(browser, address):
    page = opened(browser, address)
    yield page
    assert page.context.wrong == []
    page.context.close()


@pytest.fixture(scope="session")
def songs(tmp_path_factory):
    """Twelve different WAV files: chords with noise, of 2 to 24 seconds."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(12):
        write_song(folder / f"song {number:02}.wav", 2 + 2 * number, number)
    return folder


def write_song(path, seconds, seed):
    rate, noise = 12000, random.Random(seed)
    steps = [2 * math.pi * 110 * 2 ** (noise.randrange(36) / 12) / rate for _ in range(3)]
    chord = (2000 * sum(math.sin(step * i) for step in steps) for i in range(rate))
    samples = array.array("h", (int(value + noise.uniform(-1, 1) * 300 * seed) for value in chord)) * seconds
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())


def choose(page, *paths):
    page.set_input_files("#files", [str(path) for path in paths])


def until(page, condition):
    """Waits for a condition. `wait_for_function` evaluates text inside the page, which the page's policy refuses."""
    for _ in range(150):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(condition)


def rows(page, state=None):
    return page.locator(f".row[data-state={state}]" if state else ".row")


def names(page):
    return page.locator(".row .name").all_inner_texts()


def is_done(page, count):
    expect(page.locator("#progress")).to_be_hidden()
    expect(rows(page, "done")).to_have_count(count)


def saved(page, button):
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_text(encoding="utf-8-sig" if "csv" in button else "utf-8")


def test_the_demo_track_gets_tags(page):
    expect(page.locator("#invitation")).to_contain_text("Drop music here")
    expect(page.locator("#privacy")).to_contain_text("Nothing is uploaded")
    page.click("#demo")
    is_done(page, 1)
    expect(page.locator("#detail-name")).to_have_text("demo.ogg")
    expect(page.locator("#detail-facts")).to_contain_text("0:32")
    bars = page.locator("#bars button")
    expect(bars).to_have_count(10)
    if not MOCK:
        expect(bars.first).to_contain_text("electronic")
    page.click("#all-tags")
    expect(bars).to_have_count(50)
    numbers = [float(text) for text in page.locator("#bars .number").all_inner_texts()]
    assert numbers == sorted(numbers, reverse=True) and 0 < numbers[0] <= 1
    assert page.locator("#device").inner_text().startswith(USUAL_DEVICE)
    # Both drawings have more than one colour.
    for canvas in ["spectrogram", "heatmap"]:
        colours = page.evaluate("""id => {
            const canvas = document.getElementById(id);
            const image = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(image.data.buffer)).size;
        }""", canvas)
        assert colours > 8, canvas
    # A second click does not add it again.
    page.click("#demo")
    expect(page.locator("#notice")).to_have_text("Already in the list.")
    expect(rows(page)).to_have_count(1)


def test_the_policy_admits_no_other_host(page, address):
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy and "http" not in policy
    # The check of every test sees a request to another host, and the browser refuses it.
    page.evaluate("fetch('http://127.0.0.2:9/').catch(() => {})")
    page.wait_for_timeout(200)
    assert any("127.0.0.2" in wrong for wrong in page.context.wrong)
    page.context.wrong.clear()


def test_a_broken_file_shows_its_error_and_the_next_is_tagged(page, songs, tmp_path):
    broken = tmp_path / "a broken.mp3"
    broken.write_bytes(b"this is no audio " * 100)
    text = tmp_path / "notes.txt"
    text.write_text("not music")
    choose(page, broken, songs / "song 03.wav", text)
    expect(page.locator("#notice")).to_have_text("1 file left out: not audio.")
    is_done(page, 1)
    expect(rows(page, "failed")).to_have_count(1)
    rows(page, "failed").click()
    expect(page.locator("#problem-text")).to_contain_text("Not tagged: ")
    assert len(page.locator("#problem-advice").inner_text()) > 20
    expect(page.locator("#announcement")).to_contain_text("1 track tagged, 1 not readable")
    page.click("#retry")
    expect(rows(page, "failed")).to_have_count(1)
    results = json.loads(saved(page, "#export-json"))
    assert "error" in results[0] and results[0]["error"]["message"]


def test_cancel_and_continue(page, tmp_path):
    paths = [tmp_path / f"long {number}.wav" for number in range(4)]
    for number, path in enumerate(paths):
        write_song(path, 120, number)
    choose(page, *paths)
    expect(page.locator("#progress-text")).to_contain_text(re.compile("Tagging [1-4] of 4: long"))
    page.click("#cancel")
    expect(page.locator("#cancel")).to_be_hidden()
    cancelled = rows(page, "cancelled").count()
    assert cancelled >= 2
    expect(page.locator("#progress-text")).to_have_text(f"{cancelled} tracks not tagged.")
    expect(page.locator("#continue")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#cancel")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#continue")).to_be_visible()
    page.click("#clear")
    expect(page.locator("#invitation")).to_be_visible()
    # The tagger is free again.
    page.click("#demo")
    is_done(page, 1)


def test_sort_and_filter(page, songs):
    choose(page, *sorted(songs.iterdir(), reverse=True)[:4])
    is_done(page, 4)
    assert names(page) == ["song 11.wav", "song 10.wav", "song 09.wav", "song 08.wav"]
    page.select_option("#sort", "name")
    expect(page.locator(".row .name").first).to_have_text("song 08.wav")
    page.select_option("#sort", "length")
    expect(page.locator(".row .time").first).to_have_text("0:18")
    page.click("#direction")
    expect(page.locator(".row .name").first).to_have_text("song 11.wav")
    page.fill("#search", "09 SONG")
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#count")).to_have_text("1 of 4 tracks")
    page.fill("#search", "")
    # By a tag: all scores are at least the limit, highest first.
    page.locator("#bars button").first.click()
    expect(page.locator("#least-field")).to_be_visible()
    expect(page.locator("#sort")).to_have_value("score")
    page.locator("#least").fill("0")
    expect(rows(page)).to_have_count(4)
    scores = [float(row.locator(".time").last.inner_text()) for row in rows(page).all()]
    assert scores == sorted(scores, reverse=True)
    page.locator("#least").fill("0.95")
    expect(rows(page)).to_have_count(sum(score >= 0.95 for score in scores))
    page.select_option("#tag", "")
    expect(rows(page)).to_have_count(4)


def test_exports(page, songs, tmp_path):
    formula = tmp_path / "=1+1, \"quoted\".wav"
    formula.write_bytes((songs / "song 04.wav").read_bytes())
    choose(page, formula, songs / "song 05.wav")
    is_done(page, 2)
    results = json.loads(saved(page, "#export-json"))
    assert [row["path"] for row in results] == [formula.name, "song 05.wav"]
    for row in results:
        assert row["schema"] == 2 and row["model"] == "small" and len(row["tags"]) == 50 and len(row["embedding"]) >= 8
        assert row["clips"] and row["device"] in ("webgpu", "cpu")
        scores = [tag["score"] for tag in row["tags"]]
        assert scores == sorted(scores, reverse=True)
    assert abs(results[1]["track_s"] - 12) < 0.01
    table = list(csv.DictReader(io.StringIO(saved(page, "#export-csv"))))
    assert [row["path"] for row in table] == ["'" + formula.name, "song 05.wav"]
    for row, result in zip(table, results):
        assert row["highest tag"] == result["tags"][0]["tag"]
        for tag in result["tags"]:
            assert float(row[tag["tag"]]) == tag["score"]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t"])
def test_cells_of_csv_are_no_formulas(page, first):
    text = page.evaluate("""async first => (await import('./export.js')).asCsv(
        [{ path: first + 'cmd', result: null, error: { message: first + 'x' } }], ['rock'], 'small')""", first)
    row = list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))[1]
    assert row[0] == f"'{first}cmd" and row[4] == f"'{first}x"


def test_similar_tracks(page, songs):
    paths = sorted(songs.iterdir())
    choose(page, *paths[:2])
    is_done(page, 2)
    expect(page.locator("#similar-note")).to_have_text("Add 1 more track to see which are alike.")
    choose(page, *paths[2:6])
    is_done(page, 6)
    expect(page.locator("#similar button")).to_have_count(5)
    results = json.loads(saved(page, "#export-json"))
    # The same, computed here.
    vectors = [row["embedding"] for row in results]
    mean = [sum(column) / len(vectors) for column in zip(*vectors)]
    centred = [[value - m for value, m in zip(vector, mean)] for vector in vectors]
    length = lambda a: math.sqrt(sum(x * x for x in a))
    cosine = lambda a, b: sum(x * y for x, y in zip(a, b)) / (length(a) * length(b))
    expected = sorted(((cosine(centred[0], centred[i]), results[i]["path"]) for i in range(1, 6)), reverse=True)
    shown = page.locator("#similar button")
    for i, (similarity, path) in enumerate(expected):
        assert shown.nth(i).locator("span").first.inner_text() == path
        assert abs(float(shown.nth(i).locator(".number").inner_text()) - similarity) < 0.006
    shown.first.click()
    expect(page.locator("#detail-name")).to_have_text(expected[0][1])


def test_keyboard(page, songs):
    page.locator("#device").wait_for()
    # From the top of the page to the demo track without a pointer.
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "demo":
            break
    page.keyboard.press("Enter")
    is_done(page, 1)
    choose(page, songs / "song 01.wav", songs / "song 02.wav")
    is_done(page, 3)
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("song")
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#list")).to_be_focused()
    expect(page.locator("#detail-name")).to_have_text("song 01.wav")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#detail-name")).to_have_text("song 02.wav")
    active = page.locator("#list").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    page.keyboard.press("Home")
    expect(page.locator("#detail-name")).to_have_text("song 01.wav")
    page.keyboard.press("Delete")
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#detail-name")).to_have_text("song 02.wav")
    page.fill("#search", "")
    rows(page).first.click()
    # The time line.
    until(page, "document.getElementById('player').readyState > 0")
    page.locator("#timeline").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#timeline")).to_have_attribute("aria-valuenow", "10")
    assert abs(page.evaluate("document.getElementById('player').currentTime") - 10) < 0.5
    assert re.match(r"0:10 of 0:32: .+ \d\.\d\d", page.locator("#timeline").get_attribute("aria-valuetext"))
    page.keyboard.press("Home")
    expect(page.locator("#timeline")).to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("Enter")
    until(page, "!document.getElementById('player').paused && document.getElementById('player').currentTime > 0.2")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('player').paused")
    # A click seeks and plays.
    box = page.locator("#area").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 60)
    until(page, "Math.abs(document.getElementById('player').currentTime - 16) < 3")
    assert not page.evaluate("document.getElementById('player').paused")


def test_every_control_has_a_name(page):
    page.click("#demo")
    is_done(page, 1)
    nameless = page.evaluate("""() => {
        const controls = 'button, input, select, [role=listbox], [role=slider], progress, meter';
        const isNamed = element => element.ariaLabel || element.getAttribute('aria-labelledby') || element.textContent.trim()
            || [...element.labels ?? []].some(label => label.textContent.trim());
        return [...document.querySelectorAll(controls)].filter(e => e.checkVisibility() && !isNamed(e)).map(e => e.outerHTML);
    }""")
    assert nameless == []


def test_without_an_adapter_the_cpu_is_named(playwright, address, songs):
    browser = launch(playwright, ["--disable-gpu", "--disable-features=WebGPU", "--disable-webgpu"])
    page = opened(browser, address)
    expect(page.locator("#device")).to_contain_text("Runs on the CPU")
    expect(page.locator("#device-note")).to_be_visible()
    assert len(page.locator("#device-note").inner_text()) > 10
    choose(page, songs / "song 01.wav")
    is_done(page, 1)
    expect(page.locator("#detail-facts")).to_contain_text("tagged by the CPU")
    # A device that is not there is an error message, and the CPU stays in use.
    page.click("#settings summary")
    page.select_option("#device-choice", "webgpu")
    expect(page.locator("#notice")).to_contain_text("This device cannot be used: ")
    expect(page.locator("#device-choice")).to_have_value("auto")
    choose(page, songs / "song 02.wav")
    is_done(page, 2)
    assert page.context.wrong == []
    browser.close()


def test_a_tagger_that_does_not_start_is_an_error_message(browser, address, songs):
    context = browser.new_context(service_workers="block")
    context.route("**/package/**", lambda route: route.abort())
    page = context.new_page()
    page.goto(address)
    choose(page, songs / "song 01.wav")
    expect(page.locator("#device")).to_have_text("The tagger did not start")
    expect(page.locator("#device-note")).to_contain_text("Reload the page")
    expect(rows(page, "waiting")).to_have_count(1)
    context.close()


def test_choice_of_device(page, songs):
    expect(page.locator("#device")).to_contain_text(USUAL_DEVICE)
    page.click("#settings summary")
    page.select_option("#device-choice", "webgpu")
    expect(page.locator("#device")).to_contain_text("Runs on the GPU")
    choose(page, songs / "song 01.wav")
    is_done(page, 1)
    expect(page.locator("#detail-facts")).to_contain_text("tagged by the GPU")
    page.select_option("#device-choice", "cpu")
    expect(page.locator("#device")).to_contain_text("Runs on the CPU")
    choose(page, songs / "song 02.wav")
    is_done(page, 2)
    rows(page).nth(1).click()
    expect(page.locator("#detail-facts")).to_contain_text("tagged by the CPU")


def test_an_unusable_model_leaves_the_former_one(page, songs, tmp_path):
    choose(page, songs / "song 01.wav")
    is_done(page, 1)
    model = tmp_path / "mine.safetensors"
    model.write_bytes(b"no model")
    page.click("#settings summary")
    page.set_input_files("#model-file", str(model))
    expect(page.locator("#notice")).to_contain_text("mine.safetensors cannot be used as a model: ")
    is_done(page, 1)
    choose(page, songs / "song 02.wav")
    is_done(page, 2)


def test_a_file_that_is_gone_has_an_error(page, songs, tmp_path):
    first, gone = tmp_path / "a first.wav", tmp_path / "b gone.wav"
    write_song(first, 120, 1)
    write_song(gone, 2, 2)
    choose(page, first, gone, songs / "song 01.wav")
    expect(rows(page, "running")).to_have_count(1)
    gone.unlink()
    is_done(page, 2)
    rows(page, "failed").click()
    expect(page.locator("#problem-advice")).to_contain_text("moved or changed")
    # The player cannot read it either, which the browser reports.
    expect(page.locator("#player-note")).to_be_visible()
    assert all("ERR_FILE_NOT_FOUND" in wrong for wrong in page.context.wrong)
    page.context.wrong.clear()


def test_a_removed_track_stops_and_the_next_is_tagged(page, songs, tmp_path):
    first = tmp_path / "a first.wav"
    write_song(first, 240, 1)
    choose(page, first, songs / "song 01.wav")
    rows(page, "running").click()
    page.click("#remove")
    is_done(page, 1)
    assert names(page) == ["song 01.wav"]


@pytest.mark.skipif(not MOCK, reason="needs a GPU that fails when it is told to")
def test_the_cpu_takes_over_when_the_gpu_fails(page, songs, tmp_path):
    lost = tmp_path / "device lost.wav"
    write_song(lost, 2, 2)
    choose(page, songs / "song 01.wav", lost, songs / "song 02.wav")
    is_done(page, 3)
    expect(page.locator("#device")).to_contain_text("Runs on the CPU")
    expect(page.locator("#device-note")).to_have_text("The GPU failed (device lost), so the CPU is used.")
    results = json.loads(saved(page, "#export-json"))
    assert [row["device"] for row in results] == ["webgpu", "cpu", "cpu"]


@pytest.mark.skipif(not MOCK, reason="needs a model file that the stand-in takes")
def test_an_own_model_tags_all_again(page, songs, tmp_path):
    choose(page, songs / "song 01.wav", songs / "song 02.wav")
    model = tmp_path / "mine.safetensors"
    model.write_bytes(b"tagwave mock")
    page.click("#settings summary")
    page.set_input_files("#model-file", str(model))
    expect(page.locator("#device")).to_contain_text("model mine.safetensors")
    is_done(page, 2)
    expect(page.locator("#bars button").first).to_contain_text("own ")
    page.click("#model-reset")
    expect(page.locator("#device")).to_contain_text("built-in model")
    is_done(page, 2)
    expect(page.locator("#bars button").first).not_to_contain_text("own ")


def test_a_folder_is_searched(page, songs, tmp_path):
    inner = tmp_path / "music/album"
    inner.mkdir(parents=True)
    for number in range(2):
        (inner / f"{number}.wav").write_bytes((songs / f"song 0{number}.wav").read_bytes())
    (inner / "cover.jpg").write_bytes(b"picture")
    (inner / "._0.wav").write_bytes(b"attributes")
    page.set_input_files("#folder", str(tmp_path / "music"))
    expect(page.locator("#notice")).to_have_text("2 files left out: not audio.")
    is_done(page, 2)
    rows(page).first.click()
    expect(page.locator("#detail-facts")).to_contain_text("music/album")


DROP = """async ([target, names]) => {
    const transfer = new DataTransfer(), demo = await (await fetch('demo.ogg')).blob();
    for (const name of names) transfer.items.add(new File([demo], name));
    for (const name of ['dragenter', 'dragover', 'drop']) {
        const event = new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true });
        document.querySelector(target).dispatchEvent(event);
    }
}"""


def test_files_are_dropped(page):
    page.evaluate(DROP, ["#add", ["dropped.ogg", "cover.jpg"]])
    is_done(page, 1)
    expect(page.locator("#drop-cover")).to_be_hidden()
    assert names(page) == ["dropped.ogg"]
    # On the field for models, anything is taken for a model.
    page.evaluate(DROP, ["#model-field", ["other.ogg"]])
    expect(page.locator("#notice")).to_contain_text("other.ogg is not a model")
    expect(rows(page)).to_have_count(1)


def test_a_recording_is_tagged_and_played(browser, address):
    page = opened(browser, address, permissions=["microphone"])
    page.click("#record")
    # The stand-in of a microphone beeps once a second.
    until(page, "document.getElementById('record-level').value > 0.01")
    expect(page.locator("#record-text")).to_have_text(re.compile(r"Stop \(0:0[2-9]\)"))
    page.click("#record")
    is_done(page, 1)
    assert re.match(r"recording \d{4}-\d\d-\d\d .*\.wav", names(page)[0])
    until(page, "document.getElementById('player').readyState > 0")
    assert 1.5 < page.evaluate("document.getElementById('player').duration") < 20
    assert page.context.wrong == []
    page.context.close()


@pytest.mark.parametrize(
    "name, advice",
    [("NotAllowedError", "Allow it"), ("NotFoundError", "Connect one"), ("OtherError", "cannot be recorded")],
)
def test_a_microphone_that_cannot_be_used(page, name, advice):
    page.evaluate("""name => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('refused', name));
    }""", name)
    page.click("#record")
    expect(page.locator("#notice")).to_contain_text(advice)
    expect(page.locator("#record-text")).to_have_text("Record")
    expect(page.locator("#record")).to_be_enabled()


def test_it_works_without_a_network(browser):
    with served() as address:
        page = opened(browser, address)
        page.click("#demo")
        is_done(page, 1)
    page.reload()
    expect(page.locator("#device")).to_contain_text("Runs on the")
    page.click("#demo")
    is_done(page, 1)
    page.context.close()


def test_the_service_worker_lists_the_files_of_the_page():
    text = (Path(DIST or ROOT / "web/page") / "sw.js").read_text()
    listed = set(re.findall(r"'([\w.-]+\.\w+)'", text.split("FILES = [")[1].split("];")[0])) | {"index.html", "sw.js"}
    found = {path.name for path in (ROOT / "web/page").iterdir()} | {"demo.ogg"}
    assert listed == found


def test_a_thousand_tracks_stay_fluid(page):
    """Only rows in view are elements, and a drawing of the list takes a few milliseconds."""
    expect(page.locator("body")).to_have_attribute("data-engine", "ready")
    figures = page.evaluate("""async () => {
        const { Tracks } = await import('./tracks.js');
        const { List } = await import('./list.js');
        const { similarTo } = await import('./similar.js');
        const { reduced } = await import('./spectrogram.js');
        const of = id => document.getElementById(id);
        const random = length => Float32Array.from({ length }, Math.random);
        const tracks = new Tracks(), list = new List(tracks, { select: track => tracks.select(track) });
        of('panes').hidden = false;
        document.body.classList.add('has-tracks');
        tracks.setLabels(Array.from({ length: 50 }, (_, i) => `tag ${i}`), false);
        const file = i => ({ file: new File([], `track ${i}.mp3`), path: `artist/track ${i}.mp3` });
        for (const track of tracks.add(Array.from({ length: 1000 }, (_, i) => file(i)))) {
            const clips = [{ start: 0, scores: random(50) }];
            tracks.finish(track, { scores: random(50), embedding: random(256), clips, seconds: 200, warnings: [], mel: null });
        }
        const time = work => {
            const start = performance.now();
            for (let i = 0; i < 20; i++) {
                work(i);
                document.body.offsetHeight;
            }
            return (performance.now() - start) / 20;
        };
        // Four minutes.
        const frames = 11250, values = random(frames * 96);
        return {
            draw: time(() => list.render()),
            scroll: time(i => {
                of('list').scrollTop = i * 2000;
                of('list').dispatchEvent(new Event('scroll'));
            }),
            sort: time(i => {
                list.filter.sort = i % 2 ? 'name' : 'score';
                list.render();
            }),
            search: time(i => {
                list.filter.text = `track ${i}`;
                list.render();
            }),
            similar: time(i => similarTo(tracks.list[i], tracks.list, 8)),
            reduce: time(() => reduced({ bands: 96, frames, hop: 256 / 12000, values })),
            rows: document.querySelectorAll('.row').length,
        };
    }""")
    print({name: round(value, 2) for name, value in figures.items()})
    assert 5 < figures["rows"] < 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pictures(browser, address, songs, tmp_path, width, scheme):
    size = {"width": width, "height": 900 if width > 500 else 740}
    page = opened(browser, address, viewport=size, color_scheme=scheme)
    expect(page.locator("body")).to_have_attribute("data-engine", "ready")

    def picture(name, full=False):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the window"
        if PICTURES:
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(PICTURES) / f"{name}-{width}-{scheme}.png", full_page=full)

    picture("empty")
    broken = tmp_path / "a broken file with a long name, as they are found in collections.mp3"
    broken.write_bytes(b"this is no audio " * 100)
    long = tmp_path / "long.wav"
    write_song(long, 200, 5)
    choose(page, *sorted(songs.iterdir())[:4], broken)
    is_done(page, 4)
    page.click("#demo")
    is_done(page, 5)
    rows(page).nth(5).click()
    page.wait_for_timeout(300)
    picture("tracks", full=True)
    choose(page, long)
    expect(rows(page, "running")).to_have_count(1)
    page.evaluate("scrollTo(0, 0)")
    picture("running")
    is_done(page, 6)
    rows(page).nth(6).click()
    page.wait_for_timeout(300)
    picture("long", full=True)
    rows(page, "failed").click()
    page.wait_for_timeout(300)
    picture("failed")
    page.locator("#settings summary").scroll_into_view_if_needed()
    page.click("#settings summary")
    picture("settings")
    assert page.context.wrong == []
    page.context.close()
