"""The arrows between the rooms of the source, as a table and a pure check of source texts.

``violations`` reads source text only, so that a test can add a forbidden import to a copy of the
text and see that it is found.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PURE = "pure"  # every module that stands in no folder of the table below

ARROWS: dict[str, set[str]] = {
    # a room (the longest prefix counts) and the rooms that its modules may import beside itself
    PURE: set(),
    "options": {PURE},
    "net": {PURE, "options"},
    "net.server": {PURE, "options", "net"},
    "net.client": {PURE, "options", "net"},
    "tcp": {PURE, "options"},
    "tcp.client": {PURE, "options", "net", "net.client", "tcp"},
    "tcp.connection": {PURE, "options", "net", "net.server", "tcp"},
    "tcp.server": {PURE, "options", "net", "net.server", "tcp", "tcp.connection"},
    "udp": {PURE, "options"},
    "udp.client": {PURE, "options", "net", "net.client"},
    "udp.server": {PURE, "options", "net", "net.server", "udp"},
    "http": {PURE},
    "http.message": {PURE},
    "http.server": {PURE, "options", "net", "net.server", "http.message", "http.server.files"},
    "http.server.files": {PURE, "options", "http.message", "http.server"},
    "http.client": {PURE, "options", "net", "net.client", "http.message"},
    "see": {PURE, "see.correlate", "see.explain"},
    "see.correlate": {PURE, "see"},
    "see.explain": {PURE, "see", "see.correlate"},
    "see.render": {PURE, "see", "see.correlate", "see.explain"},
    "lab": {PURE, "options", "see", "see.explain"},
    "lab.scenarios": {PURE, "options"},
    "demo": {PURE, "tcp", "udp", "http", "http.client"},
    "cli": {PURE, "options", "cli.ui", "demo", "net", "net.server"},
    "cli.ui": {PURE},
    "cli.tcp": {PURE, "options", "cli", "cli.ui", "tcp", "tcp.client", "tcp.server"},
    "cli.udp": {PURE, "options", "cli", "cli.ui", "udp", "udp.client", "udp.server"},
    "cli.http": {
        PURE, "options", "cli", "cli.ui", "http", "http.message", "http.client", "http.server",
        "net.client",
    },
    "cli.lab": {
        PURE, "options", "cli", "cli.ui", "lab", "lab.scenarios", "see", "see.explain",
        "see.render",
    },
}  # fmt: skip

FACADES = {"stretta": {"tcp", "udp", "http"}, "stretta.__main__": {"cli"}}
"""Modules that only point at others: what users import or start."""

OPENING_PACKAGES = {"stretta.tcp", "stretta.udp", "stretta.http", "stretta.lab", "stretta.options"}
"""Packages whose ``__init__`` offers names of their own modules; those modules do not use it."""

PURE_ROOMS = {PURE, "options", "http.message", "see", "see.correlate", "see.explain", "see.render"}
PURE_MODULES = {
    f"stretta.{name}"
    for name in (
        "cli.http.timing_bar", "http.client.connection_pool", "http.client.content_decoding",
        "http.client.exchange_json", "http.client.exchange_state", "http.client.har",
        "http.client.proxy", "http.client.redirect", "http.client.request",
        "http.client.response_parser", "http.client.resume", "http.client.retry",
        "http.client.status_error",
        "http.server.files.compression_cache", "http.server.files.conditional",
        "http.server.files.content_encoding", "http.server.files.file_version",
        "http.server.files.http_date", "http.server.negotiation", "http.server.query",
        "http.server.files.zip_records",
        "http.server.files.ranges", "http.server.message_limits", "http.server.origin",
        "http.server.protocol",
        "http.server.request", "http.server.request_parser", "http.server.response",
        "http.server.request_target", "lab.fault_syntax", "lab.faults", "lab.forge",
        "lab.messages", "lab.topology", "lab.wire_log", "net.server.admission",
        "net.server.lifecycle", "net.server.log.buffer", "tcp.exchange", "tcp.framing",
        "tcp.progress", "net.server.datagram.sources",
    )
}  # fmt: skip
"""Modules that do no I/O, whatever else stands in their room."""

IMPURE_AT_ROOT = {"stretta", "stretta.__main__", "stretta.demo"}

IMPURE = {
    "_socket", "asyncio", "concurrent", "fcntl", "http", "multiprocessing", "random", "resource",
    "secrets", "select", "selectors", "socket", "socketserver", "ssl", "subprocess",
    "tempfile", "threading", "time", "urllib", "uvloop",
}  # fmt: skip
"""Modules of I/O, processes, clocks and randomness (``urllib.parse`` is pure)."""

CLOCKS = {"now", "today", "utcnow"}
"""Methods of ``datetime`` that look at the clock."""


@dataclass(frozen=True, order=True)
class Violation:
    """A module that imports something it must not."""

    module: str
    imported: str
    rule: str


def tree(source: Path) -> dict[str, str]:
    """Return the text of every module below ``source``, by its dotted name."""
    texts = {}
    for path in sorted(source.rglob("*.py*")):
        if path.suffix in (".py", ".pyx"):
            parts = path.relative_to(source.parent).with_suffix("").parts
            texts[".".join(parts).removesuffix(".__init__")] = path.read_text()
    return texts


def packages(texts: Mapping[str, str]) -> set[str]:
    """Return the names that have modules below them."""
    return {name.rpartition(".")[0] for name in texts}


def imports(module: str, text: str, *, is_package: bool = False) -> Iterator[str]:
    """Give the dotted name of everything that a module imports, at whatever depth of its code.

    ``from a import b`` gives ``a.b``: b may be a module or something in one.
    """
    if "cimport" in text or "cdef " in text:  # Cython, which ast cannot read
        for line in text.splitlines():
            if found := re.match(r"\s*from\s+([\w.]+)\s+c?import\s+(.*)", line):
                names = re.findall(r"\w+", found[2].replace("(", " ").split("#")[0])
                yield from (f"{found[1]}.{name}" for name in names[:1] or [""])
            elif found := re.match(r"\s*c?import\s+([\w.]+)", line):
                yield found[1]
        return
    home = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = home.split(".")[: len(home.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from _dynamic(node, home)


def _dynamic(call: ast.Call, home: str) -> Iterator[str]:
    """Give what ``import_module``, ``__import__`` and ``lazy_names`` are told to import."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in ("import_module", "__import__", "PackageLoader") and call.args:
        first = call.args[0]
        if isinstance(first, ast.JoinedStr):
            first = first.values[0]  # what stands before the first part that is computed
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            said = first.value
            up = len(said) - len(said.lstrip("."))
            above = home.split(".")[: len(home.split(".")) - up + 1] if up else []
            yield ".".join([*above, *filter(None, said.lstrip(".").split("."))])
    if name == "lazy_names" and len(call.args) == 2 and isinstance(call.args[1], ast.Dict):
        for value in call.args[1].values:
            if isinstance(value, ast.Constant):
                yield f"{home}.{value.value}"


def resolve(name: str, texts: Mapping[str, str]) -> str:
    """Return the module that a dotted name leads to: the longest one that exists, or ''."""
    while name and name not in texts:
        name = name.rpartition(".")[0]
    return name


def room_of(module: str) -> str:
    """Return the room of the table that a module stands in."""
    inner = module.removeprefix("stretta").lstrip(".")
    while inner:
        if inner in ARROWS:
            return inner
        inner = inner.rpartition(".")[0]
    return PURE


def is_pure(module: str) -> bool:
    """Return whether a module is held to be pure."""
    return module in PURE_MODULES or (
        room_of(module) in PURE_ROOMS and module not in IMPURE_AT_ROOT
    )


def says_it_is_pure(text: str) -> bool:
    """Return whether the docstring of a module calls it pure."""
    if "cdef " in text:
        return False
    return "Pure" in re.findall(r"\w+", ast.get_docstring(ast.parse(text)) or "")


def violations(texts: Mapping[str, str]) -> set[Violation]:
    """Return every forbidden import of a tree of sources."""
    found = set()
    parents = packages(texts)
    for module, text in texts.items():
        pure = is_pure(module)
        if pure and "cdef " not in text and _asks_the_clock(text):
            found.add(Violation(module, "datetime.now", "a pure module does not look at the clock"))
        for name in imports(module, text, is_package=module in parents):
            if not name.startswith("stretta"):
                top = name.split(".")[0]
                if pure and top in IMPURE and not name.startswith(("urllib.parse", "http.HTTP")):
                    found.add(Violation(module, name, "a pure module does no I/O and has no clock"))
                continue
            target = resolve(name, texts)
            if target == module:
                continue
            found |= _arrow(module, target, name, texts)
            if (
                pure and module not in OPENING_PACKAGES
                and target not in FACADES and not is_pure(target)
            ):  # fmt: skip
                found.add(Violation(module, target, "a pure module imports pure modules only"))
    return found


def _arrow(module: str, target: str, name: str, texts: Mapping[str, str]) -> set[Violation]:
    """Return the violation that one import within the package is, if it is one."""
    if target == "stretta":  # of the package itself: its version, or nothing
        ok = name in {"stretta.__version__", "stretta"}
        return set() if ok else {Violation(module, name, "no such module")}
    if module in FACADES:
        allowed = FACADES[module]
        ok = target.removeprefix("stretta.").split(".")[0] in allowed
        return set() if ok else {Violation(module, target, "a facade points at its own")}
    if module in OPENING_PACKAGES:
        ok = target.startswith(f"{module}.") or room_of(target) == PURE
        return set() if ok else {Violation(module, target, "a package offers its own modules")}
    if (
        target in OPENING_PACKAGES
        and target != "stretta.options"
        and module.startswith(f"{target}.")
    ):
        return {Violation(module, target, "a module does not import the package that offers it")}
    here, there = room_of(module), room_of(target)
    if here == there or there in ARROWS[here]:
        return set()
    return {Violation(module, target, f"{here} may not import {there}")}


def _asks_the_clock(text: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
        and not node.args
        for node in ast.walk(ast.parse(text))
    )
