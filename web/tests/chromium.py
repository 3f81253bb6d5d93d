"""Chromium and a server for the site under test; test_page.py describes the variables."""

import contextlib
import os
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = os.environ.get("TAGWAVE_WEB_DIST")
MOCK = os.environ.get("TAGWAVE_WEB_MOCK") or (None if DIST else ROOT / "web/tests/mock")
PICTURES = os.environ.get("TAGWAVE_WEB_SCREENSHOTS")
FLAGS = ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--autoplay-policy=no-user-gesture-required"]
SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader"]
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


class Handler(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm", ".js": "text/javascript",
                      ".webmanifest": "application/manifest+json"}

    def translate_path(self, path):
        path = path.split("?")[0].lstrip("/")
        if MOCK and path.startswith("package/"):
            return str(Path(MOCK) / path.removeprefix("package/"))
        if not DIST and path == "demo.ogg":
            return str(ROOT / "assets/demo.ogg")
        return str(Path(DIST or ROOT / "web/page") / path)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # Browsers break downloads off that they no longer need.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def served():
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def launch(playwright, flags):
    program = os.environ.get("TAGWAVE_CHROMIUM", "/usr/bin/chromium")
    return playwright.chromium.launch(executable_path=program, args=FLAGS + flags)
