"""What the command refuses, the library's functions refuse too."""

import asyncio

import pytest

from stretta import http, tcp, udp
from stretta.errors import UsageError
from stretta.http.server.access_log import AccessLog


@pytest.mark.parametrize("port", [-1, 65_536, "80", 1.5, None, True])
@pytest.mark.parametrize("protocol", [tcp, udp])
def test_a_port_that_cannot_be(protocol, port):
    with pytest.raises(UsageError, match=r"it must be an integer in 0\.\.65535"):
        protocol.ask(b"x", port=port)
    with pytest.raises(UsageError, match=r"it must be an integer in 0\.\.65535"):
        asyncio.run(protocol.ask_async(b"x", port=port))
    for server in (protocol.serve(port=port), http.serve(port=port)):
        with pytest.raises(UsageError, match=r"it must be an integer in 0\.\.65535"):
            with server.in_background():
                pass


@pytest.mark.parametrize("workers", [0, -1, 1025, 1.5, True])
def test_a_number_of_workers_that_cannot_be(workers):
    with pytest.raises(UsageError, match="workers cannot be"):
        tcp.serve().run(workers=workers)


def test_a_choice_that_does_not_exist():
    with pytest.raises(UsageError, match=r"it must be 1\.0 or 1\.1"):
        http.get("http://127.0.0.1:1/", version="3")
    with pytest.raises(UsageError, match="it must be common, combined, json or off"):
        AccessLog(print, "xml")
    with pytest.raises(UsageError, match="Framings: stream, line"):
        tcp.serve(framing="lines")
