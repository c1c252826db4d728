"""Calls as a C programmer would write them: text to be shown, which nothing decides by. Pure."""

from __future__ import annotations

from stretta.see.events import Address, Call, Direction

__all__ = ["display_address", "display_rest", "display_transfer", "literal"]


def display_transfer(call: Call) -> str:
    """Return a call that sends or receives as a C programmer would write it."""
    address = f", {display_address(call.peer)}" if call.peer and call.protocol != "tcp" else ""
    if call.direction is Direction.OUT:
        said = literal(call.data)
        return f"{call.name}({call.descriptor}, {said}, {call.requested}{address})"
    return f"{call.name}({call.descriptor}, {call.requested})"


def literal(data: bytes, most: int = 16) -> str:
    """Return bytes as a string literal, the first ``most`` of them."""
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in data[:most].decode("utf-8", "backslashreplace")
    )
    return f'"{text}"' + ("…" if len(data) > most else "")


def display_address(address: Address) -> str:
    """Return an address and a port as text."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def display_rest(parts: list[str]) -> str:
    """Return further arguments."""
    return "".join(f", {part}" for part in parts)
