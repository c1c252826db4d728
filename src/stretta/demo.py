"""The demonstration: three servers, three clients, a real text, and a check of every reply.

The servers run in threads of this process, on free loopback ports; the traffic is real.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from stretta import http, tcp, udp
from stretta.http.client.reports import Requesting
from stretta.reports import Observer, Report
from stretta.services import Service, upper

__all__ = ["Outcome", "demonstrate", "text_folder"]

TEXT = "inferno-1.txt"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """The result for one protocol: bytes sent and received, messages, seconds, differences."""

    protocol: str
    sent: int
    received: int
    messages: int
    seconds: float
    differences: tuple[str, ...]

    def __str__(self) -> str:
        verdict = "verified" if not self.differences else "DIFFERENT: " + self.differences[0]
        messages = "1 message " if self.messages == 1 else f"{self.messages} messages"
        return (
            f"{self.protocol:<4} {self.sent:>6} bytes sent {self.received:>6} received"
            f" {messages:>13} {self.seconds:6.3f} s  {verdict}"
        )


def text_folder() -> Path:
    """Return the folder with the text: in the package, or in the checkout."""
    inside = Path(__file__).parent / "examples"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "examples"


def demonstrate(
    say: Say, folder: Path, *, service: Service = upper, clock: Callable[[], float] = time.monotonic
) -> Iterator[Outcome]:
    """Run the three conversations, call ``say`` with each line of them, and yield their outcomes.

    Raises StrettaError when a conversation fails.
    """
    text = (folder / TEXT).read_bytes()
    yield _tcp(say, text, service, clock)
    yield _udp(say, text, service, clock)
    yield _http(say, folder, clock)


def _tcp(say: Say, text: bytes, service: Service, clock: Callable[[], float]) -> Outcome:
    say(f"TCP: the whole canto, {len(text)} bytes, as one stream")
    with tcp.serve(service, watch=_indented(say)).in_background() as server:
        started = clock()
        reply = bytearray()
        with tcp.connect(port=server.port, watch=_indented(say)) as conversation:
            conversation.exchange(text, reply.extend)
            say(f"  Received reply <{_folded(bytes(reply))}>")
        seconds = clock() - started
    differences = tuple(_differences("the reply", bytes(reply), _upper(text)))
    return Outcome("TCP", len(text), len(reply), 1, seconds, differences)


def _udp(say: Say, text: bytes, service: Service, clock: Callable[[], float]) -> Outcome:
    verses = [verse for verse in text.split(b"\n") if verse]
    say(f"\nUDP: the same, one datagram for each of the {len(verses)} verses")
    shown = 2
    received = 0
    differences: list[str] = []
    quiet = _First(_indented(say), shown * 2 + 1)
    with udp.serve(service, watch=quiet).in_background() as server:
        started = clock()
        for number, verse in enumerate(verses, 1):
            if number <= shown:
                reply = udp.ask(verse, port=server.port, watch=_indented(say))
                say(f"  {reply.decode(errors='backslashreplace')}")
            else:
                reply = udp.ask(verse, port=server.port)
            received += len(reply)
            differences += _differences(f"the reply to verse {number}", reply, _upper(verse))
        seconds = clock() - started
        say(f"  ... and {len(verses) - shown} more")
    sent = sum(map(len, verses))
    return Outcome("UDP", sent, received, len(verses), seconds, tuple(differences))


def _http(say: Say, folder: Path, clock: Callable[[], float]) -> Outcome:
    say("\nHTTP: the canto as a file, and the page of its folder")
    sent = received = 0
    differences: list[str] = []
    with http.serve(folder, watch=_First(_indented(say), 1)).in_background() as server:
        started = clock()
        reports: list[Report] = []
        with http.Client(watch=reports.append, compressed=False) as client:
            for path, check in ((TEXT, _check_file), ("", _check_page)):
                url = f"http://127.0.0.1:{server.port}/{path}"
                say(f"  Type the object's URL: {url}")
                response = client.get(url)
                received += len(response.body)
                differences += check(response, folder)
                for report in reports:
                    _say_lines(say, str(report))
                    sent += len(report.head) if isinstance(report, Requesting) else 0
                reports.clear()
                say(f"\n  {_folded(response.body)}\n")
        seconds = clock() - started
    return Outcome("HTTP", sent, received, 2, seconds, tuple(differences))


def _check_file(response: http.Response, folder: Path) -> Iterator[str]:
    if response.status != 200:
        yield f"the file's status is {response.status}, not 200"
    yield from _differences("the file", response.body, (folder / TEXT).read_bytes())


def _check_page(response: http.Response, folder: Path) -> Iterator[str]:
    if response.status != 200:
        yield f"the page's status is {response.status}, not 200"
    links = _Links()
    links.feed(response.text)
    for entry in folder.iterdir():
        name = entry.name + "/" * entry.is_dir()
        if not name.startswith((".", "__")) and name not in links.found:
            yield f"the page does not link to {name}"


class _Links(HTMLParser):
    """The names that a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) == ("a", "href") and value:
                self.found.add(unquote(value).removeprefix("./"))


def _upper(text: bytes) -> bytes:
    return text.decode().upper().encode()


def _differences(what: str, got: bytes, expected: bytes) -> Iterator[str]:
    if got != expected:
        pairs = enumerate(zip(got, expected, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(got), len(expected)))
        yield (
            f"{what} differs at byte {at}: {got[at : at + 20]!r} instead of"
            f" {expected[at : at + 20]!r} ({len(got)} of {len(expected)} bytes came)"
        )


def _folded(text: bytes) -> str:
    """Return the first line, the number of lines in between, and the last line."""
    lines = text.decode(errors="backslashreplace").strip().split("\n")
    if len(lines) < 4:
        return " / ".join(lines)
    return f"{lines[0]} ... {len(lines) - 2} lines ... {lines[-1]}"


def _say_lines(say: Say, text: str) -> None:
    for line in text.rstrip("\n").split("\n"):
        say(f"  {line}")


def _indented(say: Say) -> Observer:
    return lambda report: _say_lines(say, str(report))


class _First:
    """An observer that passes on the first reports, ``count`` of them."""

    def __init__(self, watch: Observer, count: int) -> None:
        self._watch, self._left = watch, count

    def __call__(self, report: Report) -> None:
        if self._left:
            self._left -= 1
            self._watch(report)
