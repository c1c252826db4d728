"""Cancelled calls of the HTTP client: sockets are closed at once, and no connection is reused."""

import asyncio
import gc
import os
import random
from contextlib import suppress

import pytest
import uvloop

from stretta import http
from stretta.errors import StrettaError
from stretta.options.http_client import HttpRoute

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nciao"
MOVED = b"HTTP/1.1 302 M\r\nLocation: /x\r\nContent-Length: 4\r\n\r\nciao"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nci\r\n2\r\nao\r\n0\r\n\r\n"
ERROR = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
REPLIES = [HELLO, MOVED, CHUNKED, ERROR, HELLO[:-2], b""]


def sockets():
    """Return how many sockets this process has open."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return found


class Server(asyncio.Protocol):
    """Answers each request with one of the replies, in segments over several loop iterations."""

    def __init__(self, choose, open_transports):
        self.choose, self.open = choose, open_transports

    def connection_made(self, transport):
        self.transport = transport
        self.open.add(transport)

    def connection_lost(self, exc):
        self.open.discard(self.transport)

    def data_received(self, data):
        assert data.startswith((b"GET /", b"PUT /")), data  # never the rest of another request
        if data.startswith(b"PUT"):
            assert data.endswith(b"ciao")
        reply = self.choose(REPLIES)
        middle = len(reply) // 2
        self.transport.write(reply[:middle])
        asyncio.get_running_loop().call_soon(self.finish, reply[middle:])

    def finish(self, rest):
        if not self.transport.is_closing():
            self.transport.write(rest)
            if b"Connection: close" in rest or len(rest) < 10:
                self.transport.close()


async def call(client, url, choice):
    """Do one of the calls that a program can make."""
    if choice == 0:
        await http.get_async(url, follow=True, route=HttpRoute(proxy=""))
    elif choice == 1:
        await client.get(url)
    elif choice == 2:
        await client.request("PUT", url, body=b"ciao")
    else:
        async with client.stream("GET", url) as stream:
            async for _ in stream:
                await asyncio.sleep(0)


async def cancel_calls(count, seed):
    """Cancel calls after a random number of loop iterations; return how many were cancelled."""
    rng = random.Random(seed)
    server_side, cancelled = set(), 0
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(rng.choice, server_side), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    before = sockets()
    async with http.AsyncClient(follow=True, route=HttpRoute(proxy="")) as client:
        for _ in range(count):
            task = asyncio.ensure_future(call(client, url, rng.randrange(4)))
            for _ in range(rng.randrange(25)):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1
            except StrettaError:
                pass
    for transport in [*server_side]:
        transport.abort()
    for _ in range(1000):  # transports close their sockets in the next loop iterations
        if sockets() == before:
            break
        await asyncio.sleep(0)
    assert sockets() == before
    server.close()
    await server.wait_closed()
    return cancelled


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_random_cancellations_leave_no_socket_open(loop):
    with asyncio.Runner(loop_factory=loop) as runner:
        cancelled = runner.run(cancel_calls(1000, seed=20261125))
    gc.collect()  # a socket that is left to the collector raises a ResourceWarning
    assert 300 < cancelled < 1000


def test_a_cancelled_response_is_not_reused():
    async def work():
        replies = []
        loop = asyncio.get_running_loop()

        class Slow(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport
                replies.append(transport)

            def data_received(self, data):
                self.transport.write(HELLO if len(replies) > 1 else HELLO[:-2])

        server = await loop.create_server(Slow, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with http.AsyncClient(route=HttpRoute(proxy="")) as client:
            async with client.stream("GET", url) as stream:
                task = asyncio.ensure_future(stream.whole())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert (await client.get(url)).text == "ciao"
        server.close()
        return len(replies)

    assert asyncio.run(work()) == 2


def test_a_response_that_ends_after_its_client_was_closed_is_not_kept():
    async def work():
        loop = asyncio.get_running_loop()
        connections = []

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport
                self.lost = loop.create_future()
                connections.append(self)

            def data_received(self, data):
                self.transport.write(HELLO)

            def connection_lost(self, exc):
                self.lost.set_result(None)

        server = await loop.create_server(Echo, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with http.AsyncClient(route=HttpRoute(proxy="")) as client:
            stream = client.stream("GET", url)
            response = await stream.__aenter__()
        assert (await response.whole()).text == "ciao"
        await stream.__aexit__(None, None, None)
        await connections[0].lost
        server.close()

    asyncio.run(work())
