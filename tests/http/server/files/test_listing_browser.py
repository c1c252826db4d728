"""The listing in a real browser: search, sorting, keyboard navigation."""

import json
import shutil
import socket
import subprocess
import urllib.request

import pytest

from stretta import http
from support import serving, until

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromedriver") and shutil.which("chromium")),
    reason="needs chromium and chromedriver (Debian packages chromium, chromium-driver)",
)

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
ROWS = """return [...document.querySelectorAll('#list tbody tr')].filter(row => !row.hidden)
    .map(row => row.cells[0].textContent)"""
ENTER, DOWN, ESCAPE, BACKSPACE = "\ue007", "\ue015", "\ue00c", "\ue003"


class Browser:
    """A browser driven by the WebDriver protocol (W3C)."""

    def __init__(self, port, profile):
        self._base = f"http://127.0.0.1:{port}/session"
        self._base = f"{self._base}/{self._start(profile)}"

    def _start(self, profile):
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        return self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def run(self, script):
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def type(self, text):
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": keys}]
        self._call("POST", "/actions", {"actions": actions})

    def console_errors(self):
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def close(self):
        self._call("DELETE", "")


@pytest.fixture
def browser(tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def listening():
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(listening, "chromedriver")
        opened = Browser(port, tmp_path / "profile")
        yield opened
        opened.close()
    finally:
        driver.kill()
        driver.wait()


def test_search_sorting_and_keyboard_navigation(browser, tmp_path):
    folder = tmp_path / "served"
    (folder / "sub").mkdir(parents=True)
    for size, name in ((3, "photo 10.jpg"), (2, "photo 2.jpg"), (1, "<b>bold.txt")):
        (folder / name).write_bytes(bytes(size))
    (folder / "README.md").write_text("| a table | of its own |\n|---|---|\n| x | y |\n")
    whole = ["sub/", "<b>bold.txt", "photo 2.jpg", "photo 10.jpg", "README.md"]
    with serving(http.serve(folder)) as server:
        browser.open(server.urls[0])
        assert browser.run(ROWS) == whole
        browser.type("/")
        browser.type("PHOTO")
        assert browser.run(ROWS) == ["photo 2.jpg", "photo 10.jpg"]
        assert browser.run("return document.getElementById('sum').textContent") == "2 of 5 shown"
        browser.type(DOWN + DOWN)
        assert browser.run("return document.activeElement.textContent") == "photo 10.jpg"
        browser.type("/")
        browser.type(ESCAPE)
        assert browser.run(ROWS) == whole
        browser.run("document.querySelector('th.size a').click()")
        assert browser.run(ROWS)[:4] == ["sub/", "<b>bold.txt", "photo 2.jpg", "photo 10.jpg"]
        browser.run("document.querySelector('th.size a').click()")
        assert browser.run(ROWS)[1] == "README.md"
        assert browser.run("return document.querySelector('th.size').ariaSort") == "descending"
        browser.type("/")
        browser.type("sub" + ENTER)
        until(lambda: browser.run("return location.pathname") == "/sub/")
        assert browser.run("return document.getElementById('empty').hidden") is False
        browser.type(BACKSPACE)
        until(lambda: browser.run("return location.pathname") == "/")
        assert browser.console_errors() == []


def test_the_server_searches_a_folder_of_several_pages(browser, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    for number in range(1001):
        (folder / f"entry {number}").touch()
    (folder / "zebra").touch()
    with serving(http.serve(folder)) as server:
        browser.open(server.urls[0])
        assert len(browser.run(ROWS)) == 1000
        browser.type("/")
        browser.type("zeb")
        until(lambda: "q=zeb" in browser.run("return location.search"))
        until(lambda: browser.run(ROWS) == ["zebra"])
        assert browser.console_errors() == []
