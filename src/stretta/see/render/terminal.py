"""The sequence diagram for a terminal: program, kernel, wire, kernel, program; time goes down.

Pure. Calls that wait are bars; segments in flight are slanted arrows; explanations stand at the
margin where it is wide enough, else below.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field

from stretta.escape import escape
from stretta.see.events import Call, Fault, Frame, Process
from stretta.see.explain.phrases import duration
from stretta.see.render.canvas import ASCII, HARD, Row
from stretta.see.render.layout import Layout, Step, label, lay_out, outcome
from stretta.see.timeline import Timeline

__all__ = ["draw"]

TIME = 9
GAP = 100_000_000
"""Nanoseconds of nothing that get a row of their own."""

MARGIN = 44
"""Columns that explanations need beside the picture."""

REFERENCE = 5
"""Columns for the numbers of explanations that stand below."""

COLOURS = {"tcp": "cyan", "udp": "cyan", "icmp": "yellow", "icmp6": "yellow"}


@dataclass(slots=True)
class Line:
    """One row to be: what stands in it, before there are columns."""

    at: int | None = None
    text: dict[str, str] = field(default_factory=dict)
    colour: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    notes: list[int] = field(default_factory=list)
    calls: dict[str, Call] = field(default_factory=dict)  # whose entry this is
    frames: list[tuple[str, Frame, int]] = field(default_factory=list)  # leave or arrive, copy
    across: str = ""
    gap: bool = False


def draw(
    timeline: Timeline,
    *,
    width: int = 80,
    colour: bool = False,
    ascii_only: bool = False,
    everything: bool = False,
    fold: bool = True,
) -> str:
    """Return the picture of a timeline in lines of at most ``width`` columns (from 60 on).

    ``everything`` draws ARP, neighbour discovery and quiet calls too; without ``fold`` long runs
    are drawn whole.
    """
    what = lay_out(timeline, everything=everything, fold=fold)
    if not what.steps:
        return "Nothing was seen: no call on a socket, no frame on the wire.\n"
    beside = width >= 80 + MARGIN - 10
    width = max(60, width)
    page = Page(what, width - (MARGIN if beside else REFERENCE))
    rows = page.rows()
    texts = [row.text(colour=colour) for row in rows]
    notes = [f"[{n}] {note.text}" for n, note in enumerate(timeline.notes, 1)]
    if beside:
        texts = _beside(texts, page, notes, width)
    else:
        texts = _with_references(texts, page)
        texts += ["", *_below(notes, width)] if notes else []
    if what.names:
        texts += ["", *(f"{name}: {flow}" for flow, name in what.names.items())]
    text = "\n".join(texts) + "\n"
    return text.translate(ASCII) if ascii_only else text


def _with_references(texts: list[str], page: Page) -> list[str]:
    """Put the explanations' numbers beside their rows, one a row."""
    waiting: list[int] = []
    lines: list[str] = []
    for number, text in enumerate(texts):
        waiting += page.references.get(number, ())
        mark = f" [{waiting.pop(0)}]" if waiting else ""
        lines.append(f"{_padded(text, page.width)}{mark}".rstrip())
    return lines + [f"{' ' * page.width} [{rest}]" for rest in waiting]


def _below(notes: list[str], width: int) -> list[str]:
    lines: list[str] = []
    for note in notes:
        indent = " " * (note.index("]") + 2)
        lines += textwrap.wrap(note, width, subsequent_indent=indent)
    return lines


def _beside(texts: list[str], page: Page, notes: list[str], width: int) -> list[str]:
    """Put each explanation beside its row, or as soon below as there is room."""
    waiting: list[str] = []
    lines: list[str] = []
    for number, text in enumerate(texts):
        for ref in page.references.get(number, ()):
            waiting += textwrap.wrap(
                notes[ref - 1], width - page.width - 3, subsequent_indent="    "
            )
        margin = waiting.pop(0) if waiting else ""
        lines.append(f"{_padded(text, page.width)}   {margin}".rstrip())
    return lines + [f"{' ' * page.width}   {rest}" for rest in waiting]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - len(re.sub(r"\x1b\[\d*m", "", text)))


class Page:
    """The columns, and everything drawn in them; ``references`` maps rows to explanations."""

    def __init__(self, what: Layout, width: int) -> None:
        self.layout, self.width = what, width
        wire = max(20, min(44, (width - TIME) * 3 // 10))
        lane = (width - TIME - wire - 2) // 2
        self.lane, self.wire = lane, width - TIME - 2 * lane - 2
        self.starts = {"client": TIME, "server": TIME + lane + 1 + self.wire + 1}
        self.left, self.right = TIME + lane, TIME + lane + 1 + self.wire
        self.references: dict[int, list[int]] = {}
        self.faults: dict[int, Fault] = {
            e.frame: e for e in what.timeline.events if isinstance(e, Fault)
        }
        self.open_calls: dict[str, dict[int, Call]] = {"client": {}, "server": {}}

    def rows(self) -> list[Row]:
        """Return all rows, the heading first."""
        lines = self.compose()
        rows = self.heading()
        offset = len(rows)
        bodies = [self.body(line) for line in lines]
        self.arrows(lines, bodies)
        for number, line in enumerate(lines):
            if line.notes:
                self.references[offset + number] = line.notes
        return rows + bodies

    def heading(self) -> list[Row]:
        """Return the row that names the lanes."""
        row = Row(self.width)
        row.write(0, "time (s)", "dim")
        names = ("client program", "kernel", "wire", "kernel", "server program")
        if self.layout.timeline.about.get("trace"):
            names = ("program", "kernel", "network", "peer", "")
        row.write(self.starts["client"], names[0], "bold")
        row.write(self.left - 6, names[1], "bold")
        row.write(self.left + 1, names[2].center(self.wire), "dim")
        row.write(self.right + 1, names[3], "bold")
        row.write(self.width - 14, names[4], "bold")
        return [row]

    def compose(self) -> list[Line]:
        """Put the steps in rows: what follows at once from what is in the last one joins it."""
        lines: list[Line] = []
        for step in self.layout.steps:
            last = lines[-1] if lines else None
            if last and last.at is not None and step.at - last.at >= GAP:
                lines.append(Line(gap=True, across=duration(step.at - last.at)))
                last = None
            joined = self.join(last, step) if last else False
            if not joined:
                lines.append(Line(step.at))
                self.put(lines[-1], step)
            line = lines[-1]
            line.notes += step.notes
            for host, state in step.states.items():
                line.states[host] = state
        return self.settle(lines)

    def join(self, line: Line, step: Step) -> bool:
        """Add a step to the last row if it belongs to what is there; return whether it did."""
        event, host = step.event, step.event.host
        if step.kind == "leave" and isinstance(event, Frame):
            caller = line.calls.get(host)
            free = not line.frames and not line.across
            if caller and free and self.layout.sent_by.get(event.id) == caller.id:
                line.frames.append(("leave", event, 0))
                return True
        elif step.kind == "arrive" and isinstance(event, Frame):
            if ("leave", event, 0) in line.frames and event.arrivals[step.copy].at == event.at:
                line.frames.append(("arrive", event, step.copy))  # seen at one place only
                return True
        elif step.kind == "exit" and isinstance(event, Call):
            if line.calls.get(host) is event and line.text[host].startswith("┌"):
                line.text[host] = f"{self.words(event, self.lane)}"
                self.open_calls[host].pop(event.id, None)
                line.calls[host] = event
                return True
            ender = self.layout.ended_by.get(event.id)
            came = any(way == "arrive" and f.id == ender for way, f, _ in line.frames)
            if came and host not in line.text:
                self.put(line, step)
                return True
        return False

    def put(self, line: Line, step: Step) -> None:
        """Write a step in a row."""
        event, host = step.event, step.event.host
        if step.kind == "fold":
            line.across = f"… {step.words} …"
        elif isinstance(event, Frame):
            line.frames.append((step.kind, event, step.copy))
        elif isinstance(event, Process):
            status = event.status or 0
            how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
            line.text[host] = f"{event.program or 'program'}: {how}"
            line.colour[host] = "dim"
        elif isinstance(event, Call) and step.kind == "enter":
            line.text[host] = "┌ " + self.brief(event, self.lane - 2)
            line.calls[host] = event
            self.open_calls[host][event.id] = event
        elif isinstance(event, Call):
            took = f", {duration(event.duration)}" if event.duration >= 1_000_000 else ""
            text = f"└ {event.name} {outcome(event)}{took}"
            if len(text) > self.lane and not event.error:
                text = f"└ {event.name}{took}"
            line.text[host] = text
            if event.error and event.error not in ("EINPROGRESS", "EAGAIN"):
                line.colour[host] = "red"

    def words(self, call: Call, room: int) -> str:
        """Return a call with its result, as long as there is room for."""
        result = outcome(call)
        full = f"{escape(call.display)} {result}"
        if len(full) <= room:
            return full
        return f"{self.brief(call, room - len(result) - 1)} {result}"

    def brief(self, call: Call, room: int) -> str:
        """Return a call without its result."""
        shown = escape(call.display)
        if len(shown) <= room:
            return shown
        said = f"{call.name}({call.data.decode(errors='replace')!r})" if call.data else ""
        if (
            call.direction == "out"
            and said
            and len(said) <= room
            and call.requested == len(call.data)
        ):
            return said.replace("'", '"')
        if call.direction == "out" and call.requested is not None:
            return _cut(f"{call.name}({call.requested} B)", room)
        if call.direction == "in" and call.requested is not None:
            return _cut(f"{call.name}({call.requested})", room)
        return _cut(f"{call.name}()", room)

    def settle(self, lines: list[Line]) -> list[Line]:
        """Give states rows of their own where calls leave no room for them."""
        settled: list[Line] = []
        for line in lines:
            settled.append(line)
            for host, state in list(line.states.items()):
                text = line.text.get(host, "")
                if text and len(text) + len(state) + 1 > self.lane:
                    del line.states[host]
                    settled.append(Line(states={host: state}))
        return settled

    def body(self, line: Line) -> Row:
        """Return a row with everything but the arrows; waits go on as bars."""
        row = Row(self.width)
        if line.gap:
            row.write(0, f"⋮ {line.across}".rjust(TIME - 1), "dim")
        elif line.at is not None:
            row.write(0, f"{(line.at - self.layout.begin) / 1e9:.6f}"[: TIME - 1], "dim")
        for host, text in line.text.items():
            row.write(
                self.starts[host] + (host == "server"),
                _cut(text, self.lane - (host == "server")),
                line.colour.get(host, ""),
            )
        for host, state in line.states.items():
            at = self.left - len(state) if host == "client" else self.starts["server"]
            if host == "server" and line.text.get(host):
                at = self.width - len(state)
            row.write(at, state, "green")
        if line.across and not line.gap:
            words = _fitted(line.across, self.width - TIME - 2).replace(" ", HARD)
            start = TIME + 2 + (self.width - TIME - 2 - len(words)) // 2
            row.write(start, words, "dim", over=True)
        edge = "┊" if line.gap else "│"
        row.write(self.left, edge, "dim")
        row.write(self.right, edge, "dim")
        return row

    def arrows(self, lines: list[Line], rows: list[Row]) -> None:
        """Draw bars and arrows over all rows."""
        self.bars(lines, rows)
        left: dict[int, int] = {}
        flights: list[tuple[int, int | None, Frame, int]] = []
        for number, line in enumerate(lines):
            for way, frame, copy in line.frames:
                if way == "leave":
                    left[frame.id] = number
                    if not frame.arrivals:
                        flights.append((number, None, frame, 0))
                elif frame.id in left:
                    flights.append((left[frame.id], number, frame, copy))
        for begin, end, frame, copy in sorted(flights, key=lambda f: (f[0], f[3])):
            if not copy:
                self.write_label(rows[begin], frame, begin, end)
        for begin, end, frame, copy in flights:
            if end is not None:
                self.fly(rows, begin, end, frame, copy)

    def bars(self, lines: list[Line], rows: list[Row]) -> None:
        """Continue the bar of each call that waits from its entry to its return."""
        waiting: dict[str, list[Call]] = {"client": [], "server": []}
        for line, row in zip(lines, rows, strict=True):
            for host, calls in waiting.items():
                text = line.text.get(host, "")
                if calls and not text.startswith(("└", "┌")) and not line.across.startswith("…"):
                    start = self.starts[host] + (host == "server")
                    if row.free(start, 1):
                        row.write(start, "┊" if line.gap else "│")
                    elif text and row.free(self.starts[host] + self.lane - 2, 1):
                        row.write(self.starts[host] + self.lane - 2, "│")
                if text.startswith("└"):
                    name = text[2:].partition(" ")[0].rstrip(",")
                    gone = next((c for c in calls if c.name == name), None)
                    if gone:
                        calls.remove(gone)
                elif text.startswith("┌"):
                    calls.append(line.calls[host])

    def name(self, frame: Frame) -> str:
        """Return the words on an arrow, with the conversation's letter where there are several."""
        words = escape(label(frame))
        letter = self.layout.names.get(frame.flow) if frame.flow else None
        return f"{letter} {words}" if letter else words

    def write_label(self, row: Row, frame: Frame, begin: int, end: int | None) -> None:
        """Write the words of a frame beside the kernel that it leaves, and where it is lost."""
        words = self.name(frame)
        room = self.wire - (9 if end is None else 5)
        words = _cut(words, room).replace(" ", HARD)
        colour = "red" if end is None or frame.forged else (
            "yellow" if frame.retransmission_of is not None else COLOURS.get(frame.packet.protocol, "")  # noqa: E501
        )  # fmt: skip
        rightward = frame.host == "client"
        if end is None:
            fault = self.faults.get(frame.id)
            how = {"cut": "cut", "reset": "stopped", "queue-full": "full"}.get(
                fault.effect if fault else "", "lost"
            )
            text = f"─{words}─×{HARD}{how}" if rightward else f"{how}{HARD}×─{words}─"
            row.write(self.left + 1 if rightward else self.right - len(text), text, colour)
            return
        text = f"─{words}─"
        if frame.forged:
            text = words
            row.write(self.left + 1 + (self.wire - len(text)) // 2, text, colour)
            return
        row.write(self.left + 1 if rightward else self.right - len(text), text, colour)

    def fly(self, rows: list[Row], begin: int, end: int, frame: Frame, copy: int) -> None:
        """Draw the way of a frame from the row where it leaves to the one where it arrives."""
        rightward = frame.host == "client"
        size = len(_cut(self.name(frame), self.wire - 5)) + 2
        if frame.forged:
            size = (self.wire + size) // 2
        steps = end - begin
        colour = "red" if frame.forged or frame.arrivals[copy].corrupted else (
            "yellow" if frame.retransmission_of is not None else COLOURS.get(frame.packet.protocol, "")  # noqa: E501
        )  # fmt: skip
        start = max(size, min(self.wire // (steps + 1), self.wire - 3))
        slope = "╲" if rightward else "╱"

        def place(distance: int) -> int:
            return self.left + 1 + distance if rightward else self.right - 1 - distance

        for distance in range(size, start):
            rows[begin].write(place(distance), "─", colour)
        if steps == 0:
            for distance in range(start, self.wire - 1):
                rows[begin].write(place(distance), "─", colour)
            rows[end].write(place(self.wire - 1), "▶" if rightward else "◀", colour)
            return
        rows[begin].write(place(start), slope, colour)
        last = self.wire - 3
        for step in range(1, steps):
            distance = start + (last - start) * step // steps
            at = place(distance)
            cell = rows[begin + step].cells[at]
            crossing = cell in "╲╱" and cell != slope
            rows[begin + step].write(at, "╳" if crossing else slope, colour, over=crossing)
        arrived = start + (last - start) * (steps - 1) // steps + 1 if steps > 1 else start + 1
        for distance in range(min(arrived, last), self.wire - 1):
            rows[end].write(place(distance), "─", colour)
        harmed = frame.arrivals[copy].corrupted
        head = "!" if harmed else ("▶" if rightward else "◀")
        rows[end].write(place(self.wire - 1), head, colour)


def _fitted(words: str, room: int) -> str:
    """Return a fold's words with parts left out, acknowledgements first, until there is room."""
    parts = words.split(", ")
    for kind in ("ACK", "call", "data"):
        for part in [p for p in reversed(parts[1:-1]) if kind in p]:
            if len(", ".join(parts)) > room:
                parts.remove(part)
    return ", ".join(parts)[:room]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(0, room - 1)] + "…"
