"""Seeing knows events, never sockets: recordings are read where there is no network at all."""

import ast
from pathlib import Path

import stretta.see

ROOM = Path(stretta.see.__file__).parent
IMPURE = {"asyncio", "os", "random", "select", "subprocess", "threading", "time"}


def test_see_imports_only_what_is_pure():
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                if node.module == "socket":  # addresses as text, no sockets
                    assert {n.name for n in node.names} <= {"AF_INET", "AF_INET6", "inet_ntop"}
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert name.split(".")[0] not in IMPURE, (path, name)
                if name.startswith("stretta."):
                    assert name.startswith(("stretta.see", "stretta.errors", "stretta.escape")), (
                        path
                    )
