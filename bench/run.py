"""Measure Stretta and its peers in turn, as shipped, and print the ratios.

    python3 bench/run.py [WORK…] [--rounds N] [--seconds S] [--json] [--save]

WORK is the beginning of a row's name (``tcp``, ``"http 612 B"``); all rows without one. Server and
load have a core each; competitors take turns; every reply is checked while it is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from servers import (
    HERE,
    LOAD_CORE,
    SERVER_CORE,
    Missing,
    Place,
    cpu_seconds,
    machine_cpu,
    memory,
    running,
)
from works import WORKS, Start, Work, make_files

RESULTS = HERE / "results.json"
LAST = HERE / "last.json"
PICTURE = HERE.parent / "docs" / "speed.svg"
PAGE = HERE.parent / "docs" / "speed.md"
BEGIN = "<!-- results: written by bench/run.py --save -->\n"
END = "<!-- end of results -->"
OURS, PEER = "stretta", "peer"
LATENCY_SHARE = 0.5
PIECES = 5
"""Rounds into which one is cut for latencies: a pause of the whole machine then spoils but one."""

WARM_UP = 0.6

MOST_NOISE = 0.15
"""Share of a core that other programs may take while we measure; else it is measured again."""

MOST_REPEATS = 3


class Wrong(Exception):
    """A server gave a wrong reply, or none: its speed means nothing."""


@dataclass
class Row:
    """The figures of one work, a list a competitor, a figure a round."""

    work: Work
    figures: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)  # seconds of server a request
    busy: dict[str, list[float]] = field(default_factory=dict)  # of the load's core
    missing: dict[str, str] = field(default_factory=dict)

    def ratios(self, name: str, figures: dict[str, list[float]] | None = None) -> list[float]:
        """Return a competitor's figures over the peer's, round by round."""
        figures = figures or self.figures
        pairs = zip(figures.get(name, []), figures.get(PEER, []), strict=False)
        return [mine / its for mine, its in pairs if its]

    def as_json(self) -> dict[str, Any]:
        ratios = self.ratios(OURS)
        work = self.work
        reached = None
        if ratios and work.bar is not None:
            middle = statistics.median(ratios)
            reached = middle >= work.bar if work.kind == "rate" else middle <= work.bar
        return {
            "work": work.name,
            "kind": work.kind,
            "peer": work.peer_name,
            "bar": work.bar,
            "reached": reached,
            "ratio": spread(ratios),
            "cpu_ratio": spread(self.ratios(OURS, self.cpu)) if self.cpu else None,
            "others": {name: spread(self.ratios(name)) for name in work.others if name not in
                       self.missing},
            "median": {name: statistics.median(f) for name, f in self.figures.items() if f},
            "load_busy": {name: round(statistics.median(b), 2) for name, b in self.busy.items()},
            "missing": self.missing,
        }  # fmt: skip


def spread(values: list[float]) -> dict[str, float] | None:
    """Return the median and the quartiles."""
    if not values:
        return None
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}


class Bench:
    """Runs rows in a place of its own."""

    def __init__(self, place: Place, rounds: int, seconds: float) -> None:
        self.place, self.rounds, self.seconds = place, rounds, seconds
        self._pids: list[int] = []

    def row(self, work: Work) -> Row:
        row = Row(work)
        with ExitStack() as stack:
            servers: dict[str, tuple[int, int]] = {}
            self._pids = []
            for name, start in {OURS: work.ours, PEER: work.peer, **work.others}.items():
                try:
                    servers[name] = stack.enter_context(self._server(work, start, name))
                    self._pids.append(servers[name][1])
                except (Missing, RuntimeError) as error:
                    if name == PEER:
                        raise
                    row.missing[name] = str(error)
            if work.kind == "memory":
                for name, (port, pid) in servers.items():
                    row.figures[name] = [self._idle_memory(work, port, pid)]
                return row
            for name, (port, _) in list(servers.items()):
                try:
                    self._load(work, port, WARM_UP)
                except Wrong as error:
                    if name in (OURS, PEER):
                        raise
                    row.missing[name] = str(error)
                    del servers[name]
            rate = 0.0
            if work.kind == "p99":
                port, _ = servers[PEER]
                rate = LATENCY_SHARE * self._rate(self._load(work, port, self.seconds))
            for turn in range(self.rounds * (PIECES if work.kind == "p99" else 1)):
                order = list(servers) if turn % 2 else list(reversed(servers))
                for name in order:
                    self._measure(row, name, *servers[name], rate)
        return row

    def _server(self, work: Work, start: Start, name: str):
        cores = {SERVER_CORE, LOAD_CORE} if work.kind == "workers" else None
        log = str(self.place.path / f"{name}.log") if work.log else os.devnull
        return running(start, self.place, udp=work.datagram is not None, cores=cores, log=log)

    def _measure(self, row: Row, name: str, port: int, pid: int, rate: float) -> None:
        seconds = self.seconds / (PIECES if row.work.kind == "p99" else 1)
        result = self._load(row.work, port, seconds, rate, pid)
        figure = result["p99"] if row.work.kind == "p99" else self._rate(result)
        row.figures.setdefault(name, []).append(figure)
        row.cpu.setdefault(name, []).append(result["server_cpu"] / result["right"])
        row.busy.setdefault(name, []).append(result["load_cpu"])

    def _load(
        self, work: Work, port: int, seconds: float, rate: float = 0, pid: int | None = None
    ) -> dict[str, float]:
        for _ in range(MOST_REPEATS):
            started, before = time.monotonic(), self._foreign_cpu()
            used = cpu_seconds(pid) if pid else 0.0
            result = self._load_once(work, port, seconds, rate)
            if pid:
                result["server_cpu"] = cpu_seconds(pid) - used
            if self._foreign_cpu() - before < MOST_NOISE * (time.monotonic() - started):
                break
            time.sleep(0.2)
        return result

    def _foreign_cpu(self) -> float:
        """Return the time that everybody else's programs have computed so far."""
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        mine = sum(map(cpu_seconds, self._pids)) + ours.ru_utime + ours.ru_stime
        return machine_cpu() - mine

    def _load_once(self, work: Work, port: int, seconds: float, rate: float) -> dict[str, float]:
        words = self._words(work, port, seconds, rate)
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        result = json.loads(done.stdout)
        if result["wrong"] or result["failed"] or not result["right"]:
            raise Wrong(f"{work.name}: {done.stdout.strip()}")
        return result

    def _words(self, work: Work, port: int, seconds: float, rate: float = 0) -> list[str]:
        pin = ["taskset", "-c", str(LOAD_CORE)]
        if work.datagram is not None:
            program = self.place.program("load_udp")
            return [*pin, program, str(port), *map(str, work.datagram), str(seconds)]
        assert work.exchanges is not None
        script = self.place.path / f"{work.slug}-{port}"
        if not script.exists():
            with open(script, "wb") as file:
                file.writelines(work.exchanges(self.place, port))
        return [
            *pin, self.place.program("load_tcp"), str(port), str(script),
            str(work.connections), str(work.at_once), str(seconds), str(rate), *work.flags,
        ]  # fmt: skip

    @staticmethod
    def _rate(result: dict[str, float]) -> float:
        return result["right"] / result["seconds"]

    def _idle_memory(self, work: Work, port: int, pid: int) -> float:
        """Return the bytes a connection that a server holds for connections at rest."""
        before = memory(pid)
        words = [*self._words(work, port, 0), "hold"]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as it:
            assert it.stdout
            assert it.stdin
            if it.stdout.readline() != "held\n":
                raise Wrong(f"{work.name}: not every connection was answered")
            held = memory(pid) - before
            it.stdin.close()
            result = json.loads(it.stdout.read())
        if result["wrong"] or result["failed"] or result["right"] != 2 * work.connections:
            raise Wrong(f"{work.name}: {result}")
        return held / work.connections


def tell(row: dict[str, Any]) -> None:
    """Print a row as people read it."""
    ratio, cpu = row["ratio"], row["cpu_ratio"]
    bar = "" if row["bar"] is None else f"bar {row['bar']:.2f}"
    verdict = {True: "reached", False: "NOT REACHED", None: ""}[row["reached"]]
    if ratio is None:
        print(f"{row['work']:34} not measured: {row['missing']}")
        return
    processor = f"cpu x {cpu['median']:.2f}" if cpu else ""
    print(
        f"{row['work']:34} {ratio['median']:.2f} of {row['peer']}"
        f"  ({ratio['low']:.2f} to {ratio['high']:.2f})  {bar:9} {verdict:11} {processor}",
        flush=True,
    )
    for name, other in row["others"].items():
        if other:
            print(f"{'':34} {other['median']:.2f}: {name}")


def machine() -> dict[str, str]:
    """Return what was measured on: a ratio travels, but not to another kind of machine."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def use_own_python() -> None:
    """Go on with the checkout's own Python, set up first, where this one has no Stretta."""
    if find_spec("stretta") and find_spec("trustme"):
        return
    sys.path.insert(0, str(HERE.parent))
    import dev  # noqa: PLC0415 - it stands at the top of the checkout

    python = str(dev.BIN / "python")
    there = dev.run(python, "-c", "import stretta, trustme", quiet=True) == 0
    if not there and dev.set_up("dev"):
        sys.exit(1)
    os.execv(python, [python, __file__, *sys.argv[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("works", nargs="*", metavar="WORK", help="beginning of a row's name")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument(
        "--save", action="store_true", help="publish the results: bench/results.json, docs/speed.*"
    )
    options = parser.parse_args()
    use_own_python()
    if options.save and not find_spec("matplotlib"):
        parser.error(
            "drawing needs matplotlib: python3 -m pip --python .venv/bin/python install matplotlib"
        )
    chosen = [w for w in WORKS if not options.works or w.name.startswith(tuple(options.works))]
    if not chosen:
        parser.error("no such work; there are: " + ", ".join(w.name for w in WORKS))
    if (os.cpu_count() or 1) < 2:
        parser.error("server and load need a core each, and this machine has one")
    failed = False
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="stretta-bench-") as path:
        place = Place(Path(path))
        try:
            place.build()
        except Missing as error:
            parser.error(f"it needs {error}")
        make_files(place)
        bench = Bench(place, options.rounds, options.seconds)
        for work in chosen:
            try:
                row = bench.row(work).as_json()
            except (Wrong, Missing, RuntimeError, ZeroDivisionError) as error:
                failed = True
                print(f"{work.name:34} FAILED: {error}", file=sys.stderr, flush=True)
                continue
            measured.append(row)
            keep(measured, LAST)
            if options.save:
                publish([row])
            if options.json:
                print(json.dumps(row), flush=True)
            else:
                tell(row)
    sys.exit(1 if failed else 0)


def keep(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows to a file, and what they were measured on."""
    path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def publish(rows: list[dict[str, Any]]) -> None:
    """Replace the rows just measured among those that the documentation shows."""
    from plot import draw  # noqa: PLC0415 - needs matplotlib

    kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    new = {row["work"]: row for row in [*kept, *rows]}
    ordered = [new[work.name] for work in WORKS if work.name in new]
    keep(ordered, RESULTS)
    draw(ordered, PICTURE)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(ordered) + END + rest.partition(END)[2])


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as a table in Markdown."""
    lines = ["| work | peer | ratio | quartiles | processor a request | aim |", "|---" * 6 + "|"]
    for row in rows:
        ratio, cpu = row["ratio"], row["cpu_ratio"]
        if ratio is None:
            continue
        aim = ""
        if row["bar"] is not None:
            bound = "at least" if row["kind"] == "rate" else "at most"
            verdict = "reached" if row["reached"] else "**not reached**"
            aim = f"{bound} {row['bar']:g}: {verdict}"
        processor = f"{cpu['median']:.2f}" if cpu and row["kind"] != "memory" else ""
        lines.append(
            f"| {row['work']} | {row['peer']} | {ratio['median']:.2f}"
            f" | {ratio['low']:.2f} to {ratio['high']:.2f}"
            f" | {processor} | {aim} |"
        )
    what = machine()
    lines += ["", f"{what['cpu']}; Linux {what['kernel']}; Python {what['python']}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
