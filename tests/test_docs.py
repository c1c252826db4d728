"""The documentation says what the code does."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def load_outputs():
    """Import docs/outputs.py, which is a script and no part of the package."""
    spec = importlib.util.spec_from_file_location("outputs", ROOT / "docs" / "outputs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_options_is_made_from_the_code():
    done = subprocess.run(
        [sys.executable, "docs/options.py", "--check"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_quoted_pictures_are_what_the_command_draws():
    outputs = load_outputs()
    stale = outputs.stale(outputs.DRAWN)
    assert not stale, "to make them anew: .venv/bin/python docs/outputs.py"


def test_every_quoted_output_is_made_by_running():
    outputs = load_outputs()
    named = [n for page in PAGES for n in re.findall(r"<!-- output: (.*) -->", page.read_text())]
    assert sorted(named) == sorted({**outputs.DRAWN, **outputs.RUN})
    assert len(named) == sum(len(outputs.BLOCK.findall(page.read_text())) for page in PAGES)


def test_a_stale_output_is_found():
    outputs = load_outputs()
    assert outputs.stale({"handshake": lambda: "another picture"}) == ["handshake"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documentation_have_only_flags_that_exist(page):
    from stretta.cli import main  # noqa: PLC0415 - imported last: it turns the collector off

    for words in re.findall(
        r"stretta ((?:tcp|udp|http) (?:client|server)[^`\n|<>&;]*)", page.read_text()
    ):
        protocol, role, *rest = words.split()
        command = main.ROOT.get_command(None, protocol).get_command(None, role)
        known = {flag for parameter in command.params for flag in parameter.opts}
        for flag in re.findall(r"(?<!\S)--?[a-z][a-z-]*", " ".join(rest)):
            assert flag in known | {"-h", "--help"}, words


def test_the_example_of_partial_sends_runs_and_shows_one():
    done = subprocess.run(
        [sys.executable, "examples/partial_send.py"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    taken = int(re.search(r"send\(\) took (\d+) of 1000000", done.stdout)[1])
    assert 0 < taken < 1_000_000


def test_every_decision_is_on_the_map():
    files = {f"adr/{path.name}" for path in (ROOT / "docs" / "adr").glob("*.md")}
    text = (ROOT / "docs" / "design.md").read_text()
    assert set(re.findall(r"\((adr/[^)]+\.md)\)", text)) == files
    for file in files:
        record = (ROOT / "docs" / file).read_text()
        assert re.findall(r"^## (.*)$", record, re.MULTILINE) == [
            "Context", "Decision", "Consequences",
        ]  # fmt: skip


def test_hooks_are_local_and_can_run():
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"repo: (.*)", text)) == {"local"}
    for entry in re.findall(r"entry: (.*)", text):
        program = entry.split()[0]
        assert Path(program).parent.name == "bin"
        assert Path(sys.executable).with_name(Path(program).name).exists(), entry
