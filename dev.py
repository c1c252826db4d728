#!/usr/bin/env python3
"""Set up and run Stretta from a checkout, with the standard library only.

    python3 dev.py demo     the three servers and their clients, on a real text
    python3 dev.py test     lint, types, tests: what CI runs (more words go to pytest)
    python3 dev.py mutate   run mutation testing on a part of the source (ROOM, COUNT, SEED)
    python3 dev.py fuzz     fuzz the parsers, guided by coverage (TARGET, SECONDS)
    python3 dev.py sanitize test the compiled modules with ASan and UBSan
    python3 dev.py lock     pin every dependency anew (needs uv)

The first call makes .venv; after that .venv/bin/stretta is the command.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
BIN = VENV / "bin"
MAKER = VENV / ".made-with"
PYTHON = f"{sys.version} {sys.base_prefix}"
SERVERS = [
    "tests/tcp", "tests/udp", "tests/http", "tests/net", "tests/test_upper.py",
    # one drives a browser, one the compiled module itself
    "--ignore=tests/http/server/files/test_listing_browser.py",
    "--ignore=tests/net/server/test_poller.py",
]  # fmt: skip
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(BIN / "python")]


def main() -> int:
    """Run the command named by the first argument."""
    if sys.version_info < (3, 11):
        return fail(
            f"this is Python {sys.version.split()[0]}; Stretta needs 3.11 or later",
            "Call a newer one: python3.11 dev.py " + " ".join(sys.argv[1:]),
        )
    command, words = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command == "demo":
        return set_up("run") or run(str(BIN / "stretta"), "demo", *words)
    if command == "test":
        return set_up("dev") or test(words)
    if command == "mutate":
        return set_up("mutate") or run(str(BIN / "python"), "tests/mutate.py", *words)
    if command == "fuzz":
        return set_up("fuzz") or run(str(BIN / "python"), "tests/fuzz/fuzz.py", *words)
    if command == "sanitize":
        return set_up("dev") or run(str(BIN / "python"), "tests/sanitize.py", *words)
    if command == "lock":
        return lock()
    print(__doc__)
    return 0 if command in ("-h", "--help") else 2


def set_up(stage: str) -> int:
    """Make .venv with what is pinned for ``stage``, unless it is there already."""
    # where Python may not write bytecode by itself, each start would compile the sources anew
    compileall.compile_dir(HERE / "src", quiet=2)
    stale = [part for part in (stage, "stretta") if not is_ready(part)]
    if not stale:
        return 0
    if run(sys.executable, "-m", "pip", "--version", quiet=True):
        return fail(
            "there is no pip for this Python",
            "Install it: sudo apt-get install python3-pip   (or: python3 -m ensurepip --user)",
        )
    once = f"Setting up {VENV.relative_to(HERE)} (once)..."
    print(once if stage in stale else "Building what has changed...", flush=True)
    started = time.monotonic()
    # without pip of its own, so that Debian's python3 needs no python3-venv
    venv.EnvBuilder(clear=not is_ours(), symlinks=True).create(VENV)
    MAKER.write_text(PYTHON)
    # each of the others holds all that run does
    done = [*stale, "run"] if stage != "run" and stage in stale else stale
    states = {part: state(part) for part in done}  # now: files may change while it installs them
    if any(install(part) for part in stale):
        return fail(
            "the packages could not be installed",
            "Is the package index reachable? pip's own words are above; then call this again.",
        )
    for part, held in states.items():
        ready(part).write_text(held)
    print(f"Ready after {time.monotonic() - started:.0f} s.", flush=True)
    return 0


def is_ours() -> bool:
    """Return whether .venv was made with this Python; a mixture of two does not work."""
    return BIN.exists() and MAKER.exists() and MAKER.read_text() == PYTHON


def install(part: str) -> int:
    """Install what is pinned for a stage, or Stretta itself, and return pip's exit status."""
    pinned = ["--require-hashes", "-r", str(HERE / "requirements" / f"{part}.txt")]
    itself = ["--no-deps", "--no-build-isolation", "--editable", str(HERE)]
    return run(*PIP, "install", "--quiet", *(itself if part == "stretta" else pinned))


def ready(part: str) -> Path:
    """Return the file that records which state of a part .venv holds."""
    return VENV / f".ready-{part}"


def is_ready(part: str) -> bool:
    """Return whether .venv holds a part as it should be now."""
    return ready(part).exists() and ready(part).read_text() == state(part)


def state(part: str) -> str:
    """Return a fingerprint of everything that determines a part of .venv."""
    if part == "stretta":
        sources = sorted((HERE / "src").rglob("*.pyx"))
        files = [HERE / "pyproject.toml", HERE / "hatch_build.py", *sources]
        facts = [sys.version, str(HERE), compiler()]
    else:
        files, facts = [HERE / "requirements" / f"{part}.txt"], [sys.version, str(HERE)]
    parts = [path.read_bytes() for path in files] + [fact.encode() for fact in facts]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def compiler() -> str:
    """Return the compiler and whether Python's headers exist: what compiling needs."""
    name = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return f"{shutil.which(name)}, {headers.exists()}"


def test(words: list[str]) -> int:
    """Lint, check types, run the tests; return the exit status of the last step that failed."""
    options = ["-n", str(os.cpu_count() or 2)]
    coverage = str(BIN / "coverage")
    measured = ["env", f"COVERAGE_FILE={HERE / '.coverage'}", coverage, "run", "-m", "pytest"]
    pytest = [str(BIN / "pytest")] if words else measured  # coverage of a selection means nothing
    steps = {
        "lint": [str(BIN / "ruff"), "check", "--quiet", "."],
        "format": [str(BIN / "ruff"), "format", "--check", "--quiet", "."],
        "types": [str(BIN / "mypy")],
        "tests": [*pytest, *options, *words],
    }
    compiled = any((HERE / "src").rglob("*.so")) and not os.environ.get("STRETTA_PURE")
    if compiled and not words:  # the fallbacks of the compiled modules serve as well
        pure = ["env", "STRETTA_PURE=1", *measured[1:], *options, *SERVERS]
        steps["tests, nothing compiled"] = pure
    if not words:
        steps["coverage, gathered"] = [coverage, "combine", "--quiet"]
        steps["coverage"] = [coverage, "report", "--skip-covered", "--show-missing"]
        run(coverage, "erase")
    failed = 0
    for name, command in steps.items():
        print(f"== {name}", flush=True)
        failed = run(*command) or failed
    return failed


def lock() -> int:
    """Pin every dependency, with hashes and without the address of any index."""
    compile_ = "uv pip compile --quiet --universal --upgrade --generate-hashes --no-header"
    options = [*compile_.split(), "--no-annotate", "--python-version", "3.11", "pyproject.toml"]
    (HERE / "requirements").mkdir(exist_ok=True)
    for stage, group in {"run": "build", "dev": "dev", "mutate": "mutate", "fuzz": "fuzz"}.items():
        target = f"requirements/{stage}.txt"
        words = ["--all-extras", "--group", group, "--output-file", target]
        failed = run(*options, *words, quiet=True)
        if failed:
            return fail(f"{target} could not be made", "Is uv there? Install it: pip install uv")
    return 0


def run(*command: str, quiet: bool = False) -> int:
    """Run one command in the checkout and return its exit status."""
    try:
        output = subprocess.DEVNULL if quiet else None
        return subprocess.run(command, cwd=HERE, check=False, stdout=output).returncode
    except FileNotFoundError:
        return 127
    except KeyboardInterrupt:
        return 130


def fail(what: str, hint: str) -> int:
    """Print the error and the next command to type."""
    print(f"dev.py: {what}. {hint}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
