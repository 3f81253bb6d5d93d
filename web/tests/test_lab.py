"""The kernel laboratory in Chromium: it accepts a built-in kernel, refuses wrong ones, and times them."""

import json
import re
from pathlib import Path

import pytest
from chromium import DIST, MOCK
from playwright.sync_api import expect
from test_page import opened

pytestmark = pytest.mark.skipif(not DIST or bool(MOCK), reason="TAGWAVE_WEB_DIST names no built site")


@pytest.fixture
def lab(browser, address):
    page = opened(browser, address, "lab.html")
    # Wrong kernels are errors of the device, which browsers also print.
    expect(page.locator("#verdict")).to_have_text("Change it, then check it.")
    yield page
    assert [wrong for wrong in page.context.wrong if wrong.startswith("http")] == []
    page.context.close()


def load(page, kernel):
    page.select_option("#kernel", kernel)
    page.click("#load")
    expect(page.locator("#source")).to_have_value(re.compile(rf"// contract  {kernel}\b"))
    expect(page.locator("#verdict")).to_have_text("Change it, then check it.")


def edit(page, old, new):
    text = page.locator("#source").input_value()
    assert old in text
    page.fill("#source", text.replace(old, new, 1))


def test_a_kernel_is_checked_timed_and_saved(lab):
    load(lab, "dense_direct")
    lab.click("#check")
    expect(lab.locator("#verdict")).to_contain_text(re.compile(r"Correct in \d+ test cases"))
    lab.select_option("#layer", index=0)
    lab.click("#time")
    expect(lab.locator("#verdict")).to_contain_text("Timed on")
    assert lab.locator("#times tbody tr").count() >= 2
    with lab.expect_download() as download:
        lab.click("#save")
    records = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert records[0]["user_kernel"] == "dense_direct" and "kernel" not in records[0]
    assert records[1]["default"] is True and records[1]["kernel"].startswith("dense_")
    for record in records:
        assert record["median_ms"] > 0 and record["vendor"] == "google" and record["key"], record


def test_a_wrong_kernel_is_refused_with_index_and_values(lab):
    load(lab, "activation")
    # Without the activation.
    text = lab.locator("#source").input_value()
    wrong = re.sub(r"activate\(([^;]*)\);", r"(\1);", text, count=1)
    assert wrong != text, text
    lab.fill("#source", wrong)
    lab.click("#check")
    expect(lab.locator("#verdict")).to_contain_text(re.compile(r"Failed: activation .*worst at \d+ of .*: .* for "))


def test_errors_of_the_compiler_are_shown_at_their_line(lab):
    load(lab, "dense_direct")
    edit(lab, "@compute", "fn broken() -> u32 { return unknown_name; }\n@compute")
    lab.click("#check")
    expect(lab.locator("#verdict")).to_contain_text("unknown_name")
    selected = lab.evaluate("""() => {
      const area = document.getElementById('source');
      return area.value.slice(area.selectionStart, area.selectionEnd);
    }""")
    assert "unknown_name" in selected, selected
    edit(lab, "// contract  dense_direct", "// nothing")
    lab.click("#check")
    expect(lab.locator("#verdict")).to_contain_text("no line `// contract")
