"""Run mutation testing: change the source at random places and see whether the tests notice.

    python3 dev.py mutate                  every room of tests/mutation.toml, 200 changes each
    python3 dev.py mutate tcp              one room
    python3 dev.py mutate tcp 1000 7       so many of its changes, chosen by the seed 7; 0 is all

mutmut makes the changes and runs the tests that reach each changed function. The changes that no
test noticed are printed; the exit status is 1 when fewer were noticed than the room demands.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".mutation"
LEAST = 85.0
COUNT, SEED = 200, 1
NOTICED = {1, 3, 24, -24, 36, 152, 255, -11, -9}
"""Exit statuses of a run that failed, crashed or went beyond its time."""
UNREACHED = {33, 5}

CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {sources}
also_copy = ["conftest.py", "examples", "docs", "README.md", "CHANGELOG.md"]
do_not_mutate_patterns = ["__slots__", "assert .*# noqa: S101"]
pytest_add_cli_args = [
  "-p", "no:cacheprovider", "-p", "no:xdist", "-x", "--timeout=60", "--ignore-glob=*browser*",
]
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 4.0
timeout_constant = 6.0
track_dependencies = false
use_git_change_detection = false
"""


def main(words: list[str]) -> int:
    """Mutate the rooms that are named, or all; return 1 if the tests of one notice too little."""
    rooms = tomllib.loads((ROOT / "tests" / "mutation.toml").read_text())
    numbers = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if not word.isdigit()] or list(rooms)
    if unknown := [name for name in names if name not in rooms]:
        print(f"There is no room {unknown[0]!r}. There are: {', '.join(rooms)}.", file=sys.stderr)
        return 2
    count, seed = (*numbers, *[COUNT, SEED][len(numbers) :])[:2]
    shares = {name: mutate(name, rooms[name], count, seed) for name in names}
    for name, share in shares.items():
        print(f"{name:12} {share:5.1f} % noticed, {rooms[name].get('least', LEAST):.0f} % demanded")
    return int(any(share < rooms[name].get("least", LEAST) for name, share in shares.items()))


def mutate(name: str, room: dict[str, list[str]], count: int, seed: int) -> float:
    """Mutate one room in a copy of the sources; return the share in percent that was noticed."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for file in listed.stdout.splitlines():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    for module in (ROOT / "src").rglob("*.so"):  # without them the compiled twins would be left out
        shutil.copy(module, folder / module.relative_to(ROOT))
    sources = json.dumps([f"src/stretta/{source}" for source in room["sources"]])
    found = [path for pattern in room["tests"] for path in sorted(ROOT.glob(pattern))]
    tests = json.dumps([str(path.relative_to(ROOT)) for path in found])
    with (folder / "pyproject.toml").open("a") as file:
        file.write(CONFIGURATION.format(sources=sources, tests=tests))
    run(folder, "run", "no such mutant")  # makes them, and finds the tests that reach each function
    made = sorted(results(folder))
    if not made:
        print(f"{name}: mutmut made nothing: see {folder / 'mutmut.log'}", file=sys.stderr)
        return 0.0
    chosen = made if not count else random.Random(seed).sample(made, min(count, len(made)))
    run(folder, "run", "--max-children", str(4 * (os.cpu_count() or 1)), *chosen)
    after = results(folder)
    missed, prose = [], 0
    for mutant in chosen:
        if after[mutant] not in NOTICED:
            removed, added = changed(folder, mutant)
            if is_prose(removed, added):
                prose += 1
                continue
            missed.append(mutant)
            where = " (no test reaches it)" if after[mutant] in UNREACHED else ""
            print("\n".join([f"# {mutant}{where}", *removed, *added]), flush=True)
    counted = len(chosen) - prose
    print(f"{name}: {counted - len(missed)} of {counted} noticed, {prose} in wording not counted")
    return 100 * (1 - len(missed) / max(1, counted))


def run(folder: Path, *words: str) -> None:
    """Call mutmut; what it says goes to a file, since it redraws one line for each mutant."""
    with (folder / "mutmut.log").open("ab") as log:
        command = [str(Path(sys.executable).with_name("mutmut")), *words]
        # compiled twins hide the Python that is changed
        environment = {**os.environ, "STRETTA_PURE": "1"}
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)


def results(folder: Path) -> dict[str, int | None]:
    """Return the exit status of each mutant's tests; None for one that was not tested."""
    found: dict[str, int | None] = {}
    for meta in (folder / "mutants").rglob("*.meta"):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def changed(folder: Path, mutant: str) -> tuple[list[str], list[str]]:
    """Return the lines that a mutant lost and those that it got instead, as in a diff."""
    command = [str(Path(sys.executable).with_name("mutmut")), "show", mutant]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    removed = [line for line in lines if re.match(r"-(?!--)", line)]
    return removed, [line for line in lines if re.match(r"\+(?!\+\+)", line)]


def is_prose(removed: list[str], added: list[str]) -> bool:
    """Return whether only the wording of a message changed: no test has to pin that.

    A string of two words or more is wording; it was changed, or replaced by None.
    """
    before, after = tokens(removed), tokens(added)
    if len(before) != len(after):
        return False
    differ = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    return bool(differ) and all(re.match(r"[fb]?['\"].*\w.* .*\w", old) for old, _ in differ)


def tokens(lines: list[str]) -> list[str]:
    """Return the words, strings and signs of lines of a diff."""
    text = "\n".join(line[1:] for line in lines)
    return re.findall(r"""[fb]?"(?:\\.|[^"\\])*"|[fb]?'(?:\\.|[^'\\])*'|\w+|[^\w\s]""", text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
