"""The sequence diagram for a terminal: program, kernel, wire, kernel, program; time goes down.

Pure. Calls that wait are bars; segments in flight are slanted arrows; explanations stand at the
margin where it is wide enough, else below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from stretta.see.events import Call, Direction, Effect, Fault, Frame, Process
from stretta.see.explain.wording import duration
from stretta.see.render.canvas import ASCII, HARD, Row, Slope
from stretta.see.render.labels import (
    FoldPart,
    fold_parts,
    frame_label,
    outcome,
    process_end,
    safe,
)
from stretta.see.render.lanes import TIME, Lane, Lanes
from stretta.see.render.layout import Layout, Step, StepKind, lay_out
from stretta.see.render.margin import below, with_margin, with_references
from stretta.see.timeline import Timeline

__all__ = ["draw"]

GAP = 100_000_000
"""Nanoseconds without an event that get a row of their own."""

SHOWN_WAIT = 1_000_000
"""Nanoseconds from which on a call's return says how long it took."""

MARGIN = 44
"""Columns that explanations need at the margin."""

REFERENCE = 5
"""Columns for the numbers of explanations that stand below."""

COLOURS = {"tcp": "cyan", "udp": "cyan", "icmp": "yellow", "icmp6": "yellow"}

HARMLESS = ("EINPROGRESS", "EAGAIN")
"""Errors that are no failure."""

LOSSES = {Effect.CUT: "cut", Effect.RESET: "stopped", Effect.QUEUE_FULL: "full"}
"""The words for a frame that the wire did not deliver; others are lost."""


class Part(Enum):
    """What of a call a row shows."""

    BEGIN = auto()
    END = auto()
    WHOLE = auto()
    """A call during which nothing else happened."""
    OTHER = auto()
    """Not a call: a program's end."""


@dataclass(slots=True)
class Cell:
    """The words of one host in a row, and what they show."""

    part: Part
    text: str
    call: Call | None = None
    colour: str = ""


@dataclass(slots=True)
class Line:
    """The content of a row, before it has columns.

    ``frames`` leave (or arrive) with the number of their copy. ``across`` are words over all lanes:
    those of a fold, or of a gap.
    """

    at: int | None = None
    cells: dict[str, Cell] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    notes: list[int] = field(default_factory=list)
    frames: list[tuple[StepKind, Frame, int]] = field(default_factory=list)
    across: str = ""
    gap: bool = False
    fold: bool = False


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

    More than three hosts may need more columns. ``everything`` draws ARP, neighbour discovery and
    quiet calls too; without ``fold`` long runs are drawn whole.
    """
    layout = lay_out(timeline, everything=everything, fold=fold)
    if not layout.steps:
        return "Nothing was seen: no call on a socket, no frame on the wire.\n"
    at_margin = width >= 80 + MARGIN - 10
    width = max(60, width)
    page = Page(layout, width - (MARGIN if at_margin else REFERENCE))
    texts = [row.text(colour=colour) for row in page.rows()]
    width = max(width, page.width + (MARGIN if at_margin else REFERENCE))
    notes = [f"[{n}] {safe(note.text)}" for n, note in enumerate(timeline.notes, 1)]
    if at_margin:
        texts = with_margin(texts, page.references, notes, page.width, width)
    else:
        texts = with_references(texts, page.references, page.width)
        texts += ["", *below(notes, width)] if notes else []
    if layout.names:
        texts += ["", *(f"{name}: {safe(str(flow))}" for flow, name in layout.names.items())]
    text = "\n".join(texts) + "\n"
    return text.translate(ASCII) if ascii_only else text


class Page:
    """The lanes, and everything drawn in them; ``references`` maps rows to explanations."""

    def __init__(self, layout: Layout, width: int) -> None:
        self.layout = layout
        self.lanes = Lanes(layout.hosts, width)
        self.width = self.lanes.width
        self.references: dict[int, list[int]] = {}
        self.faults: dict[int, Fault] = {
            e.frame: e for e in layout.timeline.events if isinstance(e, Fault)
        }

    def rows(self) -> list[Row]:
        """Return all rows, the heading first."""
        lines = self.compose()
        bodies = [self.body(line) for line in lines]
        self.arrows(lines, bodies)
        rows = [self.lanes.heading()]
        for number, line in enumerate(lines):
            if line.notes:
                self.references[len(rows) + number] = line.notes
        return rows + bodies

    def compose(self) -> list[Line]:
        """Put the steps in rows: one that follows at once from those of the last row joins it."""
        lines: list[Line] = []
        for step in self.layout.steps:
            last = lines[-1] if lines else None
            if last and last.at is not None and step.at - last.at >= GAP:
                lines.append(Line(gap=True, across=duration(step.at - last.at)))
                last = None
            if not (last and self.join(last, step)):
                lines.append(Line(step.at))
                self.put(lines[-1], step)
            line = lines[-1]
            line.notes += step.notes
            line.states.update(step.states)
        return self.settle(lines)

    def join(self, line: Line, step: Step) -> bool:
        """Add a step to the last row if it belongs there; return whether it does."""
        event, host = step.event, step.event.host
        cell = line.cells.get(host)
        if isinstance(event, Frame):
            if step.kind is StepKind.LEAVE:
                free = not line.frames and not line.across
                caller = cell.call if cell and cell.part in (Part.BEGIN, Part.WHOLE) else None
                if caller and free and self.layout.sent_by.get(event.id) == caller.id:
                    line.frames.append((StepKind.LEAVE, event, 0))
                    return True
            elif (StepKind.LEAVE, event, 0) in line.frames and event.arrivals[
                step.copy
            ].at == event.at:
                line.frames.append((StepKind.ARRIVE, event, step.copy))  # seen at one place only
                return True
        elif step.kind is StepKind.EXIT and isinstance(event, Call):
            if cell and cell.call is event and cell.part is Part.BEGIN:
                words = self.words(event, self.lanes.lane)
                line.cells[host] = Cell(Part.WHOLE, words, event)
                return True
            ender = self.layout.ended_by.get(event.id)
            came = any(way is StepKind.ARRIVE and f.id == ender for way, f, _ in line.frames)
            if came and cell is None:
                self.put(line, step)
                return True
        return False

    def put(self, line: Line, step: Step) -> None:
        """Write a step in a row."""
        event, host, lane = step.event, step.event.host, self.lanes.lane
        if step.fold:
            parts = fold_parts(step.fold, self.layout.hosts)
            line.across = f"… {_fitted(parts, self.width - TIME - 6)} …"
            line.fold = True
        elif isinstance(event, Frame):
            line.frames.append((step.kind, event, step.copy))
        elif isinstance(event, Process):
            line.cells[host] = Cell(Part.OTHER, process_end(event), colour="dim")
        elif isinstance(event, Call) and step.kind is StepKind.ENTER:
            line.cells[host] = Cell(Part.BEGIN, f"┌ {self.brief(event, lane - 2)}", event)
        elif isinstance(event, Call):
            took = f", {duration(event.duration)}" if event.duration >= SHOWN_WAIT else ""
            text = f"└ {safe(event.name)} {outcome(event)}{took}"
            if len(text) > lane and not event.error:
                text = f"└ {safe(event.name)}{took}"
            failed = event.error and event.error not in HARMLESS
            line.cells[host] = Cell(Part.END, text, event, "red" if failed else "")

    def words(self, call: Call, room: int) -> str:
        """Return a call with its result, as long as there is room for."""
        result = outcome(call)
        full = f"{safe(call.display)} {result}"
        if len(full) <= room:
            return full
        return f"{self.brief(call, room - len(result) - 1)} {result}"

    def brief(self, call: Call, room: int) -> str:
        """Return a call without its result, shortened to the room there is."""
        display, name = safe(call.display), safe(call.name)
        if len(display) <= room:
            return display
        if call.direction is Direction.OUT:
            if call.data and call.requested == len(call.data):
                said = f"{name}({safe(repr(call.data.decode(errors='replace')))})"
                if len(said) <= room:
                    return said.replace("'", '"')
            if call.requested is not None:
                return _cut(f"{name}({call.requested} B)", room)
        if call.direction is Direction.IN and call.requested is not None:
            return _cut(f"{name}({call.requested})", room)
        return _cut(f"{name}()", room)

    def settle(self, lines: list[Line]) -> list[Line]:
        """Give states rows of their own where calls leave no room for them."""
        settled: list[Line] = []
        for line in lines:
            settled.append(line)
            for host, state in list(line.states.items()):
                cell = line.cells.get(host)
                if cell and len(cell.text) + len(state) + 1 > self.lanes.lane:
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
        for lane in self.lanes.ordered:
            cell = line.cells.get(lane.host.name)
            if cell:
                row.write(lane.text_start, _cut(cell.text, lane.room), cell.colour)
            if state := line.states.get(lane.host.name):
                row.write(_place_of_state(lane, state, alone=cell is None), state, "green")
        if line.fold:
            words = line.across[: self.width - TIME - 2].replace(" ", HARD)
            start = TIME + 2 + (self.width - TIME - 2 - len(words)) // 2
            row.write(start, words, "dim", over=True)
        for border in self.lanes.borders:
            row.write(border, "┊" if line.gap else "│", "dim")
        return row

    def arrows(self, lines: list[Line], rows: list[Row]) -> None:
        """Draw bars and arrows over all rows."""
        self.bars(lines, rows)
        left: dict[int, int] = {}
        flights: list[tuple[int, int | None, Frame, int]] = []
        for number, line in enumerate(lines):
            for way, frame, copy in line.frames:
                if way is StepKind.LEAVE:
                    left[frame.id] = number
                    if not frame.arrivals:
                        flights.append((number, None, frame, 0))
                elif frame.id in left:
                    flights.append((left[frame.id], number, frame, copy))
        for begin, end, frame, copy in sorted(flights, key=lambda f: (f[0], f[3])):
            if not copy:
                self.write_label(rows[begin], frame, lost=end is None)
        for begin, end, frame, copy in flights:
            if end is not None:
                self.fly(rows, begin, end, frame, copy)

    def bars(self, lines: list[Line], rows: list[Row]) -> None:
        """Continue the bar of each call that waits from its entry to its return."""
        waiting: dict[str, list[int]] = {lane.host.name: [] for lane in self.lanes.ordered}
        for line, row in zip(lines, rows, strict=True):
            for lane in self.lanes.ordered:
                calls, cell = waiting[lane.host.name], line.cells.get(lane.host.name)
                edge = cell and cell.part in (Part.BEGIN, Part.END)
                if calls and not edge and not line.fold:
                    if row.free(lane.text_start, 1):
                        row.write(lane.text_start, "┊" if line.gap else "│")
                    elif cell and row.free(lane.start + lane.width - 2, 1):
                        row.write(lane.start + lane.width - 2, "│")
                if cell and cell.call and cell.part is Part.END and cell.call.id in calls:
                    calls.remove(cell.call.id)
                elif cell and cell.call and cell.part is Part.BEGIN:
                    calls.append(cell.call.id)

    def name(self, frame: Frame) -> str:
        """Return the words on an arrow, with the conversation's letter where there are several."""
        letter = self.layout.names.get(frame.flow) if frame.flow else None
        words = frame_label(frame)
        return f"{letter} {words}" if letter else words

    def colour(self, frame: Frame, copy: int | None = None) -> str:
        """Return the colour of a frame's arrow, or of one copy of it."""
        if frame.forged or (copy is not None and frame.arrivals[copy].corrupted):
            return "red"
        if frame.retransmission_of is not None:
            return "yellow"
        return COLOURS.get(frame.packet.protocol, "")

    def write_label(self, row: Row, frame: Frame, *, lost: bool) -> None:
        """Write the words of a frame by the kernel that it leaves, and where it is lost."""
        span = self.lanes.span(frame)
        words = _cut(self.name(frame), self.lanes.wire - (9 if lost else 5)).replace(" ", HARD)
        if lost:
            fault = self.faults.get(frame.id)
            how = LOSSES.get(fault.effect, "lost") if fault else "lost"
            text = f"─{words}─×{HARD}{how}" if span.rightward else f"{how}{HARD}×─{words}─"
            span.write_from_sender(row, text, "red")
        elif frame.forged:
            row.write(span.first + (span.size - len(words)) // 2, words, self.colour(frame))
        else:
            span.write_from_sender(row, f"─{words}─", self.colour(frame))

    def fly(self, rows: list[Row], begin: int, end: int, frame: Frame, copy: int) -> None:
        """Draw the way of a frame from the row where it leaves to the one where it arrives."""
        span = self.lanes.span(frame, copy)
        size = len(_cut(self.name(frame), self.lanes.wire - 5)) + 2
        if frame.forged:
            size = (span.size + size) // 2
        steps = end - begin
        colour = self.colour(frame, copy)
        start = max(size, min(span.size // (steps + 1), span.size - 3))
        slope = Slope.DOWN if span.rightward else Slope.UP
        for distance in range(size, start):
            rows[begin].write(span.place(distance), "─", colour)
        if steps == 0:
            for distance in range(start, span.size - 1):
                rows[begin].write(span.place(distance), "─", colour)
            head = "▶" if span.rightward else "◀"
            rows[end].write(span.place(span.size - 1), head, colour)
            return
        rows[begin].slant(span.place(start), slope, colour)
        last = span.size - 3
        for step in range(1, steps):
            distance = start + (last - start) * step // steps
            rows[begin + step].slant(span.place(distance), slope, colour)
        arrived = start + (last - start) * (steps - 1) // steps + 1 if steps > 1 else start + 1
        for distance in range(min(arrived, last), span.size - 1):
            rows[end].write(span.place(distance), "─", colour)
        harmed = frame.arrivals[copy].corrupted
        head = "!" if harmed else ("▶" if span.rightward else "◀")
        rows[end].write(span.place(span.size - 1), head, colour)


def _place_of_state(lane: Lane, state: str, *, alone: bool) -> int:
    """Return where a state stands: at the kernel's border, or at the lane's end behind a call."""
    if lane.left is None or not alone:
        return lane.start + lane.width - len(state)
    return lane.start


def _fitted(parts: list[tuple[FoldPart, str]], room: int) -> str:
    """Return a fold's words with parts left out, acknowledgements first, until there is room.

    The first part and the duration stay.
    """
    kept = list(parts)
    for kind in (FoldPart.ACKS, FoldPart.CALLS, FoldPart.DATA):
        for part in [p for p in reversed(kept[1:-1]) if p[0] is kind]:
            if len(", ".join(words for _, words in kept)) > room:
                kept.remove(part)
    return ", ".join(words for _, words in kept)[:room]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(0, room - 1)] + "…"
