"""The documentation says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_page_of_options_is_made_from_the_code():
    done = subprocess.run(
        [sys.executable, "docs/options.py", "--check"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


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
