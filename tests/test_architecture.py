"""The shape of the code, held by tests: which room may import which, and the public names."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stretta

SOURCE = Path(stretta.__file__).parent

PURE = {
    "stretta.errors", "stretta.address", "stretta.options", "stretta.reports", "stretta.escape",
    "stretta.services", "stretta.lazy", "stretta.upper", "stretta._upper",
    "stretta.native",
}  # fmt: skip
PROTOCOLS = ["stretta.tcp", "stretta.udp", "stretta.http"]


def imports_of(path):
    """Every stretta module that a file imports, at whatever depth of its code."""
    if path.suffix == ".pyx":  # no Python that ast could read
        imports = re.compile(r"^\s*(?:from|c?import)\s+(stretta[\w.]*)", re.MULTILINE)
        yield from imports.findall(path.read_text())
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stretta"):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("stretta"))


def files(*rooms):
    for room in rooms:
        path = SOURCE / room
        if path.is_dir():
            yield from (file for ending in ("py", "pyx") for file in path.rglob(f"*.{ending}"))
        else:
            yield from (
                file
                for ending in ("py", "pyx")
                for file in path.parent.glob(f"{path.name}.{ending}")
            )


def arrows(*rooms):
    for path in files(*rooms):
        for module in imports_of(path):
            yield str(path.relative_to(SOURCE)), module


def is_pure(module):
    return module in PURE or module.startswith("stretta.options.")


def test_pure_modules_know_only_pure_modules():
    names = [module.removeprefix("stretta.") for module in PURE]
    assert not [(a, b) for a, b in arrows(*names) if not is_pure(b)]


def test_net_knows_no_protocol():
    assert not [
        (a, b) for a, b in arrows("net") if not is_pure(b) and not b.startswith("stretta.net")
    ]


def test_protocols_know_neither_each_other_nor_the_command():
    for room in ("tcp", "udp", "http"):
        others = (*(p for p in PROTOCOLS if p != f"stretta.{room}"), "stretta.cli", "stretta.lab")
        assert not [(a, b) for a, b in arrows(room) if b.startswith(others)]


def test_only_the_command_imports_the_command():
    rooms = [
        p.name for p in SOURCE.iterdir() if p.is_dir() and p.name not in ("cli", "__pycache__")
    ]
    assert not [(a, b) for a, b in arrows(*rooms) if b.startswith("stretta.cli")]


def test_sockets_and_the_event_loop_stay_in_their_rooms():
    """Pure modules are pure: no sockets, no loop, no clock."""
    impure = {"socket", "asyncio", "select", "time", "subprocess", "random", "threading"}
    for path in files(*(module.removeprefix("stretta.") for module in PURE)):
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                assert not impure.intersection(names), path


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
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"asyncio", "uvloop", "aiofastnet", "json", "rich", "httptools"}.intersection(loaded)
