"""One browser and one server for all tests."""

import pytest
from chromium import MICROPHONE, SOFTWARE_GPU, launch, served
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="session")
def address():
    with served() as address:
        yield address


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright):
    browser = launch(playwright, SOFTWARE_GPU + MICROPHONE)
    yield browser
    browser.close()
