"""What is fuzzed: for each target a function of bytes, and the exceptions that it may raise.

Besides these exceptions each target checks what must hold: a parser gives the same, however its
input is cut; what is decoded stays below the limit; what was written can be read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from stretta.errors import InvalidReply, ReplyEndedEarly, StrettaError, UsageError
from stretta.http.client.content_decoding import decoder_for
from stretta.http.client.response_parser import ResponseParser
from stretta.http.message.content_disposition import file_name_in
from stretta.http.message.url import parse_url
from stretta.http.server.files.conditional import evaluate_preconditions, range_applies
from stretta.http.server.files.http_date import parse_http_date
from stretta.http.server.files.ranges import RangeNotSatisfiable, parse_ranges
from stretta.http.server.request_parser import Refused, RequestParser
from stretta.http.server.request_target import parse_target
from stretta.lab.faults import FaultInjector
from stretta.options import HttpLimits, WireOptions
from stretta.see.hosts import Host, Interface, Role
from stretta.see.json_document import from_document, to_document
from stretta.see.packets import checksum_is_good, decode, describe_payload
from stretta.see.strace_events import read_strace

HOSTS = (
    Host("client", Role.CLIENT, (Interface("eth0", ("10.0.0.1", "fd00::1")),)),
    Host("server", Role.SERVER, (Interface("eth0", ("10.0.0.2", "fd00::2")),)),
)
MOST_DECODED = 1 << 20
NOW = 1_700_000_000.0


@dataclass(frozen=True)
class Target:
    """A function to fuzz; ``allowed`` are the exceptions that are an answer, not a fault."""

    run: Callable[[bytes], None]
    allowed: tuple[type[BaseException], ...] = ()

    def __call__(self, data: bytes) -> None:
        """Run the function; an exception that it may raise is an answer."""
        with suppress(*self.allowed):
            self.run(data)


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut the data in pieces of 1 to 7 bytes, as its own bytes say."""
    cuts = [0]
    while cuts[-1] < len(data):
        cuts.append(min(len(data), cuts[-1] + 1 + data[cuts[-1]] % 7))
    yield from (data[a:b] for a, b in pairwise(cuts))


def requests(data: bytes) -> None:
    """HTTP requests come out the same, however they are cut."""
    limits = HttpLimits(max_request_line=200, max_header=200, max_headers=600, max_body=300)

    def outcome(parts: Iterator[bytes]) -> list[tuple[object, ...]]:
        def admit(_request: object) -> tuple[int, bool]:
            return limits.max_body, True

        parser = RequestParser(limits, admit)
        found: list[tuple[object, ...]] = []
        for part in parts:
            parser.receive(part)
            while (request := parser.next_request()) is not None:
                if isinstance(request, Refused):  # which limit is met first depends on the cuts
                    found.append(("refused",))
                    break
                assert len(request.body) <= limits.max_body
                found.append((request.method, request.target, request.headers, request.body))
        return found

    assert outcome(iter([data])) == outcome(pieces(data))


def responses(data: bytes) -> None:
    """An HTTP response comes out the same, however it is cut."""

    def outcome(parts: Iterator[bytes]) -> tuple[object, ...]:
        parser = ResponseParser("GET")
        body = b""
        try:
            for part in parts:
                body += b"".join(bytes(chunk) for chunk in parser.feed(part))
            parser.finish()
        except (InvalidReply, ReplyEndedEarly) as error:
            return (type(error), parser.head)
        return (parser.head, body, parser.trailers, parser.keep_alive)

    assert outcome(iter([data])) == outcome(pieces(data))


def decoding(data: bytes) -> None:
    """A body with a content coding, named by the first byte, decodes or is refused."""
    codings = [["gzip"], ["deflate"], ["br"], ["zstd"], ["gzip", "br"], ["deflate", "gzip"]]
    decoder = decoder_for(codings[data[0] % len(codings)] if data else ["gzip"])
    assert decoder is not None
    size = 0
    for part in pieces(data[1:]):
        for chunk in decoder.feed(part):
            size += len(chunk)
            if size > MOST_DECODED:
                return
    decoder.finish()


def url(data: bytes) -> None:
    """A URL that is accepted is accepted again as it is written, and means the same."""
    found = parse_url(data.decode("utf-8", "replace"))
    assert parse_url(found.href).href == found.href


def target(data: bytes) -> None:
    """A request target never leads above the root, and holds no NUL or slash in a segment."""
    found = parse_target(data)
    for part in found.names:
        assert part not in (b"", b".", b"..")
        assert b"/" not in part
        assert b"\0" not in part


def ranges(data: bytes) -> None:
    """Ranges lie within the file, in any number that is allowed."""
    for size in (0, 1, 1000, 2**40):
        try:
            found = parse_ranges(data.decode("latin-1"), size)
        except RangeNotSatisfiable:
            continue
        assert all(0 <= r.start < r.stop <= size for r in found or ())


def conditions(data: bytes) -> None:
    """Conditional fields lead to one of three statuses."""
    names = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range")
    values = data.decode("latin-1").split("\n")
    fields = dict(zip(names, values, strict=False))
    for modified in (None, 0, 1_600_000_000, -1, 2**40):
        assert evaluate_preconditions(fields, "abc", modified, NOW) in (200, 304, 412)
        if modified is not None:
            assert range_applies(fields, "abc", modified, NOW) in (True, False)
    date = parse_http_date(values[0], NOW)
    assert date is None or isinstance(date, int)


def disposition(data: bytes) -> None:
    """A name from Content-Disposition is text."""
    assert isinstance(file_name_in(data.decode("latin-1")), str)


def strace(data: bytes) -> None:
    """What strace may have printed becomes events in order, or a usage error."""
    read = read_strace(data.decode("utf-8", "replace"), HOSTS[0], HOSTS)
    assert all(call.host == "client" for call in read.calls)


def packets(data: bytes) -> None:
    """Any frame becomes a packet."""
    packet = decode(data)
    assert packet.length >= 0
    describe_payload(packet.payload)
    checksum_is_good(data)


def faults(data: bytes) -> None:
    """An expression of the fault language is accepted or refused with its place."""
    names = ("delay", "jitter", "rate", "loss", "duplicate", "reorder", "corrupt", "drop", "cut")
    text = data.decode("utf-8", "replace")
    name = names[data[0] % len(names)] if data else "drop"
    FaultInjector(WireOptions(**{name: (text[1:],)}), 1, 0)


def timeline(data: bytes) -> None:
    """A recorded timeline is loaded and written again, or refused."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    again = to_document(from_document(document))
    assert to_document(from_document(json.loads(json.dumps(again)))) == again


TARGETS = {
    "requests": Target(requests),
    "responses": Target(responses),
    "decoding": Target(decoding, (InvalidReply, ReplyEndedEarly)),
    "url": Target(url, (UsageError,)),
    "target": Target(target, (Refused,)),
    "ranges": Target(ranges),
    "conditions": Target(conditions),
    "disposition": Target(disposition),
    "strace": Target(strace, (StrettaError,)),
    "packets": Target(packets),
    "faults": Target(faults, (UsageError,)),
    "timeline": Target(timeline, (UsageError,)),
}
