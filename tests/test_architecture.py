"""The shape of the code, held by tests: which room may import which, and the public names."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import stretta
from architecture import (
    ARROWS,
    PURE,
    PURE_MODULES,
    PURE_ROOMS,
    is_pure,
    room_of,
    says_it_is_pure,
    tree,
    violations,
)
from support import UNMEASURED

SOURCE = Path(stretta.__file__).parent
TEXTS = tree(SOURCE)

MOST_FILES = 24


def test_no_module_imports_what_it_must_not():
    assert not sorted(violations(TEXTS))


PROBES = {
    # who must not import whom, each in another form of import
    "the HTTP server the client": (
        "stretta.http.server.handler", "from stretta.http.client.request import ClientRequest"),
    "the HTTP client the server": (
        "stretta.http.client.blocking", "import stretta.http.server.response"),
    "files of the server the client, in a function": (
        "stretta.http.server.files.listing",
        "def late():\n    from stretta.http.client import redirect"),
    "both ends' messages one end": (
        "stretta.http.message.headers", "from ..server import response"),
    "an end the package that offers it": (
        "stretta.http.server.server", "from stretta.http import Client"),
    "an end another protocol": ("stretta.tcp.server", "from stretta import udp"),
    "an end another protocol, relatively": ("stretta.udp.client", "from ..tcp import client"),
    "TCP's client its server": ("stretta.tcp.client", "from stretta.tcp.server import serve"),
    "net a protocol": ("stretta.net.server.listen", "from stretta import http"),
    "net's client end its server end": (
        "stretta.net.client.connect", "from stretta.net.server.listen import bind"),
    "net's server end its client end": (
        "stretta.net.server.server", "from stretta.net.client import connect"),
    "what both ends of net share one end": (
        "stretta.net.resolve", "from .client.connect import dial"),
    "a protocol the command line": (
        "stretta.http.client.download", "from stretta.cli.ui.progress import Progress"),
    "a protocol the lab, by name": (
        "stretta.tcp.client",
        "import importlib\nimportlib.import_module('stretta.lab.controller')"),
    "see the lab": ("stretta.see.timeline", "from stretta.lab.recording import Recording"),
    "see the network": ("stretta.see.pcapng", "from stretta.net import interfaces"),
    "see a socket": ("stretta.see.packets", "from socket import inet_ntop"),
    "see the clock": ("stretta.see.render.terminal", "from time import monotonic"),
    "see the clock through datetime": (
        "stretta.see.json_document", "import datetime\nNOW = datetime.datetime.now()"),
    "explanations a picture": (
        "stretta.see.explain.loss", "from stretta.see.render import scene"),
    "explanations a picture, by name": (
        "stretta.see.explain.transfer", "__import__('stretta.see.render.terminal')"),
    "correlation explanations": (
        "stretta.see.correlate.tcp", "from stretta.see.explain import phrases"),
    "the lab a picture": ("stretta.lab.recording", "from stretta.see.render.terminal import draw"),
    "the lab the network": ("stretta.lab.controller", "import stretta.net.tls as tls"),
    "options anything": ("stretta.options.server", "from stretta.net import interfaces"),
    "options select": ("stretta.options.declare", "import select"),
    "a pure parser asyncio": ("stretta.http.server.request_parser", "import asyncio"),
    "a pure parser an impure module": (
        "stretta.http.server.request_parser", "from stretta.http.server.server import serve"),
    "pure framing threads": ("stretta.tcp.framing", "def late():\n    import threading"),
    "errors what uses them": ("stretta.errors", "from stretta.options import server"),
    "a service the event loop": ("stretta.services", "import asyncio.events"),
    "one command another's protocol": (
        "stretta.cli.tcp.client", "from stretta.http.client.blocking import get"),
    "what commands share one command": (
        "stretta.cli.ui.console", "from stretta.cli.http.show import Show"),
    "what commands share the network": (
        "stretta.cli.ui.prompt", "from stretta.net.resolve import resolve"),
    "compiled code a protocol": (
        "stretta.net.server._poller", "from stretta.http.server cimport _file_stamp"),
    "a package what is not its own": (
        "stretta.udp", "from stretta.tcp.client import ask as _ask"),
    "the package the lab": ("stretta", "from stretta import lab"),
}  # fmt: skip


@pytest.mark.parametrize(("module", "line"), PROBES.values(), ids=PROBES)
def test_a_forbidden_import_is_found(module, line):
    changed = {**TEXTS, module: f"{TEXTS[module]}\n{line}\n"}
    assert violations(changed) - violations(TEXTS)


def test_an_allowed_import_is_let_through():
    line = "from stretta.http.message.headers import Headers"
    module = "stretta.http.server.handler"
    assert not violations({**TEXTS, module: f"{TEXTS[module]}\n{line}\n"})


def test_the_table_speaks_of_what_is_there():
    assert set(TEXTS) >= PURE_MODULES
    rooms = {room_of(module) for module in TEXTS}
    assert rooms == set(ARROWS)
    assert rooms >= PURE_ROOMS
    assert {name for arrows in ARROWS.values() for name in arrows} <= {*ARROWS, PURE}


def test_what_calls_itself_pure_is_held_to_it():
    said = {module for module, text in TEXTS.items() if says_it_is_pure(text)}
    assert not {module for module in said if not is_pure(module)}


def test_no_folder_holds_more_files_than_a_reader_overlooks():
    for folder in [SOURCE, *(path for path in SOURCE.rglob("*") if path.is_dir())]:
        sources = [f for f in folder.glob("*.py*") if f.suffix in (".py", ".pyx")]
        assert len(sources) <= MOST_FILES, folder


def test_a_compiled_module_carries_the_name_of_its_twin():
    for path in SOURCE.rglob("*.pyx"):
        assert path.name.startswith("_"), path
        assert path.with_name(path.name.removeprefix("_")).with_suffix(".py").exists(), path


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("stretta.tcp", {"Conversation", "TcpServer", "ask", "ask_async", "connect", "serve"}),
        ("stretta.udp", {"UdpServer", "ask", "ask_async", "serve"}),
        (
            "stretta.http",
            {
                "AsyncClient",
                "AsyncResponseStream",
                "Client",
                "Headers",
                "HttpServer",
                "Response",
                "ResponseStream",
                "get",
                "get_async",
                "serve",
            },
        ),
    ],
)
def test_public_names(module, names):
    found = importlib.import_module(module)
    assert set(found.__all__) == names
    for name in names:
        assert ">>>" in getattr(found, name).__doc__, name  # and the doctests run it
    with pytest.raises(AttributeError, match="no attribute"):
        _ = found.nonsense


@pytest.mark.parametrize("client", ["tcp", "udp"])
def test_a_one_shot_client_imports_no_event_loop(client):
    code = f"import sys, stretta.cli.main, stretta.cli.{client}.client; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=UNMEASURED, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"asyncio", "uvloop", "aiofastnet", "json", "rich", "httptools"}.intersection(loaded)
