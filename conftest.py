"""Servers for tests and for the examples in docstrings."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "tests"))

from canned import HELLO, canned
from stretta import tcp, udp
from support import serving

# a shell ignores SIGINT for its background jobs; the programs under test must receive it
signal.signal(signal.SIGINT, signal.default_int_handler)

# a busy machine fails no test; every run tries the same examples (`dev.py fuzz` finds new ones)
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture
def tcp_upper_server() -> Iterator[tcp.TcpServer]:
    """A TCP server that answers in upper case, on a free loopback port."""
    with serving(tcp.serve()) as server:
        yield server


@pytest.fixture
def udp_upper_server() -> Iterator[udp.UdpServer]:
    """A UDP server that answers in upper case, on a free loopback port."""
    with serving(udp.serve()) as server:
        yield server


@pytest.fixture
def hello_url() -> Iterator[str]:
    """The URL of an object that is the text ``ciao``."""
    with canned(HELLO) as server:
        yield server.url
