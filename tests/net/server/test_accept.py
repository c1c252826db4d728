"""Accepting: what waits in the listen queues is taken, whatever becomes of it."""

import asyncio
import errno
import os
import socket
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from stretta.net.server import accept
from stretta.net.server.accept import Acceptor
from support import PATIENCE


@contextmanager
def listening(count):
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=0) for _ in range(count)]
    for sock in sockets:
        sock.setblocking(False)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def dial(sock):
    return socket.create_connection(sock.getsockname(), PATIENCE)


class Noting(asyncio.Protocol):
    """Notes what comes; ``heard`` is called each time."""

    def __init__(self, notes, heard=lambda: None):
        self.notes, self.heard = notes, heard

    def connection_made(self, transport):
        self.notes.append(transport)
        self.heard()

    def data_received(self, data):
        self.notes.append(bytes(data))
        self.heard()


def broken(error):
    """Return what stands for a poller that can accept nothing."""

    class Broken:
        calls = 0

        def __init__(self, loop):
            self.retired = False

        def accept(self, listener, factory, most):
            Broken.calls += 1
            raise OSError(error, os.strerror(error))

        def retire(self):
            self.retired = True

    return Broken


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOSPC, errno.EINVAL])
def test_what_concerns_more_than_one_connection_pauses_accepting(monkeypatch, error):
    poller = broken(error)
    monkeypatch.setattr(accept, "open_poller", poller)

    async def main():
        told = asyncio.Queue()
        with listening(2) as sockets, dial(sockets[0]), dial(sockets[1]):
            acceptor = Acceptor(sockets, Noting, backlog=10, on_exhausted=told.put_nowait)
            first = await asyncio.wait_for(told.get(), PATIENCE)
            for _ in range(10):
                await asyncio.sleep(0)
            assert first.errno == error and told.empty()  # it does not spin
            acceptor.close()

    asyncio.run(main())
    assert poller.calls == 3  # one that failed, and one for each queue at the end


def test_the_trouble_of_one_connection_after_the_other_does_not_hold_up_the_end(monkeypatch):
    poller = broken(errno.EPERM)  # a firewall's rule, say
    monkeypatch.setattr(accept, "open_poller", poller)

    async def main():
        with listening(1) as sockets, dial(sockets[0]):
            acceptor = Acceptor(sockets, Noting, backlog=1000, on_exhausted=pytest.fail)
            acceptor.close()
            assert sockets[0].fileno() == -1

    asyncio.run(main())
    assert 1 <= poller.calls <= 1000 // accept.BATCH + 1


@pytest.mark.parametrize("pure", ["", "1"])
def test_who_waits_at_the_end_is_taken_on_every_socket(monkeypatch, pure):
    monkeypatch.setenv("STRETTA_PURE", pure)

    async def main():
        notes, all_came = [], asyncio.Event()

        def heard():
            if len(notes) == 140:
                all_came.set()

        with listening(2) as sockets, ExitStack() as clients:
            new = partial(Noting, notes, heard)
            acceptor = Acceptor(sockets, new, backlog=200, on_exhausted=pytest.fail)
            for sock in sockets:
                for _ in range(70):
                    clients.enter_context(dial(sock))
            acceptor.close()
            await asyncio.wait_for(all_came.wait(), PATIENCE)
            for transport in notes:
                transport.abort()
            await asyncio.sleep(0)
            assert acceptor.starting == 0

    asyncio.run(main())


@pytest.mark.parametrize("pure", ["", "1"])
def test_what_is_sent_during_a_turn_is_not_read_in_it_on_any_socket(monkeypatch, pure):
    """So one look at a file, in that turn, holds for all that is read in it."""
    monkeypatch.setenv("STRETTA_PURE", pure)

    async def main():
        loop, notes, step = asyncio.get_running_loop(), [], asyncio.Event()

        def heard():
            if notes == [b"early"]:
                loop.call_soon(notes.append, "turn")
                for each in late:
                    each.sendall(b"late")
            if len(notes) >= 4:
                step.set()

        with listening(2) as sockets, ExitStack() as clients:
            new = partial(Noting, notes, heard)
            acceptor = Acceptor(sockets, new, backlog=9, on_exhausted=pytest.fail)
            early = [clients.enter_context(dial(sock)) for sock in sockets]
            late = [clients.enter_context(dial(sock)) for sock in sockets]
            await asyncio.wait_for(step.wait(), PATIENCE)
            transports = notes[:]
            notes.clear()
            step.clear()
            for each in early:
                each.sendall(b"early")
            while notes.count(b"late") < 2:
                await asyncio.wait_for(step.wait(), PATIENCE)
                step.clear()
            acceptor.close()
            for transport in transports:
                transport.abort()
            await asyncio.sleep(0)
        return notes

    notes = asyncio.run(main())
    assert sorted(notes, key=str) == [b"early", b"early", b"late", b"late", "turn"]
    assert notes.index("turn") < notes.index(b"late")
