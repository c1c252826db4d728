"""Build the compiled modules with ASan and UBSan, run the tests of sockets and a stress on them.

    python3 dev.py sanitize                the tests of the servers, then the stress
    python3 dev.py sanitize -k poller      words go to pytest

The first finding of a sanitizer ends the process that it is in, so a test fails; its report stands
in .sanitize/report.*. Leaks are not looked for: Python keeps memory until it ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".sanitize"
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"
TESTS = ["tests/net/server", "tests/tcp", "tests/udp", "tests/http/server", "tests/test_upper.py"]
LEFT_OUT = ["tests/http/server/files/test_listing_browser.py"]


def main(words: list[str]) -> int:
    """Build, test, stress; return 1 if a sanitizer or a test found something."""
    runtime = library("libasan.so")
    if runtime is None:
        print("There is no libasan here. Install it: sudo apt-get install gcc libasan8")
        return 1
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(
        ROOT / "src", WORK / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    shutil.copy(ROOT / "hatch_build.py", WORK)
    if build():
        return 1
    on_error = f"abort_on_error=1:log_path={WORK}/report"
    environment = {
        **os.environ,
        "PYTHONPATH": str(WORK / "src"),
        "PYTHONMALLOC": "malloc",  # so that ASan sees each object of Python
        "LD_PRELOAD": f"{runtime} {library('libubsan.so') or ''}".strip(),
        "ASAN_OPTIONS": f"detect_leaks=0:{on_error}",
        "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:{on_error}",
    }
    environment.pop("STRETTA_PURE", None)
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=300"]
    ignored = [f"--ignore={path}" for path in LEFT_OUT]
    failed = run([*pytest, *TESTS, *ignored, *words], environment)
    failed = run([sys.executable, str(ROOT / "tests" / "stress.py")], environment) or failed
    for report in sorted(WORK.glob("report.*")):
        print(report.read_text())
        failed = 1
    return int(bool(failed))


def build() -> int:
    """Compile every module in the copy, with the sanitizers; return the exit status."""
    code = (
        "import hatch_build, pathlib, shutil\n"
        "sources = [p.relative_to('src') for p in pathlib.Path('src').rglob('*.pyx')]\n"
        "built = hatch_build.compiled(sources, pathlib.Path('built').absolute())\n"
        "[shutil.copy(module, 'src' / s.parent / module.name) for s, module in built.items()]\n"
    )
    environment = {**os.environ, "CFLAGS": FLAGS, "LDFLAGS": FLAGS, "PYTHONPATH": str(WORK)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=WORK, env=environment, check=False
    ).returncode


def library(name: str) -> str | None:
    """Return the path of a runtime of the compiler, None where it has none."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    asked = subprocess.run(
        [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False
    )
    path = Path(asked.stdout.strip())
    return str(path.resolve()) if path.is_absolute() and path.exists() else None


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run a command in the checkout; return its exit status."""
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
