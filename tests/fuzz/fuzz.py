"""Fuzz one target, guided by coverage, or each for a while.

    python3 dev.py fuzz                    every target, 20 seconds each
    python3 dev.py fuzz requests 600       one target, so many seconds

The inputs found stay in tests/fuzz/found (not kept in the repository); an input that breaks a
target is printed with the command that runs it again. Put it into tests/fuzz/corpus/TARGET when
the fault is mended: the tests run the corpus.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS = 20


def main(words: list[str]) -> int:
    """Fuzz what is named; return 1 if a target broke."""
    sys.path.insert(0, str(HERE))
    from targets import TARGETS  # noqa: PLC0415 - with atheris it is imported in a child, instrumented

    numbers = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if not word.isdigit()] or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        print(f"There is no target {unknown[0]!r}. There are: {', '.join(TARGETS)}.")
        return 2
    broken = [name for name in names if fuzz(name, *numbers[:1])]
    print(f"{len(names) - len(broken)} of {len(names)} targets held." + " Broken: " * bool(broken))
    print(*broken, sep=", ")
    return int(bool(broken))


def fuzz(name: str, seconds: int = SECONDS) -> int:
    """Run one target in a process of its own; return its exit status."""
    found, corpus = HERE / "found" / name, HERE / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    corpus.mkdir(parents=True, exist_ok=True)
    print(f"== {name}, {seconds} s", flush=True)
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-verbosity=0"]
    options += [f"-artifact_prefix={HERE / 'found'}/{name}-", "-print_final_stats=1"]
    command = [sys.executable, __file__, "--target", name, *options, str(found), str(corpus)]
    return subprocess.run(command, check=False).returncode


def run_target(name: str, arguments: list[str]) -> None:
    """Hand one target to atheris, which never returns."""
    import atheris  # noqa: PLC0415 - only fuzzing needs it

    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=["stretta", "targets"]):
        from targets import TARGETS  # noqa: PLC0415
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--target"]:
        run_target(sys.argv[2], sys.argv[3:])
    sys.exit(main(sys.argv[1:]))
