"""How an exchange looks: the lecture's lines and the body for a person, the bytes for a program."""

from __future__ import annotations

from stretta.cli.talk import Talk, person_reads, write_out
from stretta.escape import TerminalText, escape
from stretta.http.client import ResponseStream
from stretta.http.media import charset_of, is_text, media_type
from stretta.http.reports import Awaiting, Requesting, Responding
from stretta.reports import Report

__all__ = ["Show"]

ENOUGH = 1024
"""Bytes of a body that tell whether it is text."""


class Show:
    """Watches exchanges, one after the other, and shows them."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self._awaiting = False

    def __call__(self, report: Report) -> None:
        """Show what is going on."""
        if self.talk.as_json:
            self.talk(report)
        elif isinstance(report, Awaiting):
            self._awaiting = True
            self.talk.say(f"{report} ", end="")
        elif isinstance(report, Requesting):
            self.talk.say(escape(str(report)), end="")
            if report.body:
                self.talk.say(f"({report.body} bytes of body)\n")
        elif isinstance(report, Responding):
            self._awaiting = False
            self.talk.say("received\nResponse:")
            self.talk.say(escape(str(report)), end="")
        else:
            self.talk(report)

    def broken_off(self) -> None:
        """End the line that was waiting for the response."""
        if self._awaiting:
            self._awaiting = False
            self.talk.say("")

    def body(self, stream: ResponseStream) -> None:
        """Show a body as it comes: text to a person, all of its bytes to a program."""
        if self.talk.as_json:
            for piece in stream:
                self.talk.piece(piece)
        elif person_reads():
            self._to_person(stream)
        else:
            for piece in stream:
                write_out(piece)

    def _to_person(self, stream: ResponseStream) -> None:
        pieces = iter(stream)
        beginning = b""
        for piece in pieces:
            beginning += piece
            if len(beginning) >= ENOUGH:
                break
        if not beginning:
            return
        kind = stream.head.headers.get("content-type")
        if not is_text(kind, beginning[:ENOUGH]):
            size = len(beginning) + sum(map(len, pieces))
            name = escape(media_type(kind)) or "unknown type"
            self.talk.say(f"(binary, not shown: {name}, {size} bytes)")
            return
        text = TerminalText(charset_of(kind, beginning))
        shown = text.feed(beginning).removeprefix("\ufeff")
        write_out(shown)
        for piece in pieces:
            shown = text.feed(piece) or shown
            write_out(shown)
        rest = text.finish()
        write_out(rest if (rest or shown).endswith("\n") else rest + "\n")
