"""Every input of the corpus is one that a target once found, or a good start for finding more."""

import random
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_of_the_corpus_gets_an_answer_that_is_allowed(path):
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_get_an_answer_that_is_allowed(name):
    """A short walk without coverage; ``dev.py fuzz`` walks on."""
    chance = random.Random(name)
    seeds = [path.read_bytes() for path in FILES if path.parent.name == name]
    assert seeds, f"there is no corpus for {name}"
    for _ in range(60):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            change = chance.randrange(3)
            if change == 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            elif change == 1:
                del data[at : at + chance.randint(1, 8)]
            else:
                data[at:at] = chance.choice(seeds)[: chance.randint(1, 40)]
        TARGETS[name](bytes(data))
