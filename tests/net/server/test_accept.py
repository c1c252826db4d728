"""Accepting: listen queues are emptied, failures pause it, one connection's error does not."""

import asyncio
import errno
import os
import socket
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from stretta.net.server import accept
from stretta.net.server.accept import BATCH, PAUSE, Acceptor
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


class Recorder(asyncio.Protocol):
    """Records what is received; ``on_event`` is called each time."""

    def __init__(self, events, on_event=lambda: None):
        self.events, self.on_event = events, on_event

    def connection_made(self, transport):
        self.events.append(transport)
        self.on_event()

    def data_received(self, data):
        self.events.append(bytes(data))
        self.on_event()


class Clock:
    """An event loop that only records its readers and timers."""

    def __init__(self):
        self.readers, self.timers = {}, []

    def add_reader(self, sock, callback, *args):
        self.readers[sock] = partial(callback, *args)

    def remove_reader(self, sock):
        assert sock.fileno() >= 0, "it is closed already"
        self.readers.pop(sock, None)

    def call_later(self, delay, callback):
        timer = Timer(delay, callback)
        self.timers.append(timer)
        return timer


class Timer:
    def __init__(self, delay, callback):
        self.delay, self.callback, self.cancelled = delay, callback, False

    def cancel(self):
        self.cancelled = True


class Poller:
    """A poller that does as its script says: an errno, or whether more connections may wait."""

    starting = 3

    def __init__(self, *script):
        self.script, self.calls, self.retired = list(script), [], 0

    def accept(self, listener, factory, most):
        self.calls.append((listener, most))
        step = self.script.pop(0) if self.script else False
        if step is True or step is False:
            return step
        raise OSError(step, os.strerror(step))

    def retire(self):
        self.retired += 1


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(accept.asyncio, "get_running_loop", lambda: clock)
    return clock


@pytest.fixture
def acceptor(clock, monkeypatch):
    """Make an acceptor of ``sockets`` whose poller follows a script; errors are recorded."""

    def make(sockets, *script, backlog=10):
        poller, errors = Poller(*script), []
        monkeypatch.setattr(accept, "open_poller", lambda _: poller)
        made = Acceptor(sockets, Recorder, backlog=backlog, on_exhausted=errors.append)
        return made, poller, errors

    return make


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINVAL])
def test_a_lack_of_resources_pauses_accepting_on_every_socket(clock, acceptor, error):
    with listening(2) as sockets:
        _, poller, errors = acceptor(sockets, error)
        clock.readers[sockets[0]]()
        assert [each.errno for each in errors] == [error]
        assert not clock.readers and len(poller.calls) == 1
        (timer,) = clock.timers
        assert (timer.delay, timer.cancelled) == (PAUSE, False)


def test_accepting_goes_on_after_the_pause(clock, acceptor):
    with listening(2) as sockets:
        made, poller, errors = acceptor(sockets, errno.EMFILE, True, errno.EMFILE)
        clock.readers[sockets[0]]()
        clock.timers[0].callback()
        assert set(clock.readers) == set(sockets)
        clock.readers[sockets[1]]()
        assert poller.calls == [(sockets[0], BATCH), (sockets[1], BATCH)]
        assert len(errors) == len(clock.timers) == 1
        clock.readers[sockets[1]]()  # and it can happen again
        assert len(errors) == len(clock.timers) == 2
        clock.timers[1].callback()
        made.close()  # no pause is left to be cancelled
        assert not [timer for timer in clock.timers if timer.cancelled]


@pytest.mark.parametrize("error", sorted(accept.OF_ONE_CONNECTION))
def test_the_error_of_one_connection_pauses_nothing(clock, acceptor, error):
    with listening(1) as sockets:
        _, _, errors = acceptor(sockets, error)
        clock.readers[sockets[0]]()
        assert clock.readers and not errors and not clock.timers


def test_closing_empties_each_listen_queue_and_cancels_the_pause(clock, acceptor):
    with listening(2) as sockets:
        made, poller, _ = acceptor(
            sockets, errno.ENFILE, True, errno.EPERM, False, True, False, backlog=200
        )
        clock.readers[sockets[0]]()
        made.close()
        first, second = sockets
        batches = [listener for listener, _ in poller.calls[1:]]
        assert batches == [first, first, first, second, second]
        assert clock.timers[0].cancelled and not clock.readers
        assert [sock.fileno() for sock in sockets] == [-1, -1]
        assert poller.retired == 1
        made.close()
        assert poller.retired == 1


def test_closing_without_resources_closes_all_the_same(clock, acceptor):
    with listening(2) as sockets:
        made, poller, _ = acceptor(sockets, errno.EMFILE, errno.EMFILE)
        made.close()
        assert len(poller.calls) == 2  # one attempt for each queue
        assert not clock.readers
        assert [sock.fileno() for sock in sockets] == [-1, -1]


@pytest.mark.parametrize(
    ("backlog", "batches"), [(0, 1), (BATCH - 1, 1), (BATCH, 2), (1000, 16), (1 << 40, 40)]
)
def test_closing_does_not_wait_for_peers_that_never_stop_to_come(clock, acceptor, backlog, batches):
    with listening(1) as sockets:
        script = [True] * min(batches, 39) + [True, False]
        made, poller, _ = acceptor(sockets, *script, backlog=backlog)
        made.close()
        assert len(poller.calls) == (batches if backlog < 1 << 40 else 41)


def test_the_poller_knows_how_many_connections_are_starting(clock, acceptor):
    with listening(1) as sockets:
        assert acceptor(sockets)[0].starting == Poller.starting


@pytest.mark.parametrize("pure", ["", "1"])
def test_connections_in_the_listen_queues_are_accepted_at_the_end(monkeypatch, pure):
    monkeypatch.setenv("STRETTA_PURE", pure)

    async def main():
        events, all_came = [], asyncio.Event()

        def on_event():
            if len(events) == 140:
                all_came.set()

        with listening(2) as sockets, ExitStack() as clients:
            new = partial(Recorder, events, on_event)
            made = Acceptor(sockets, new, backlog=200, on_exhausted=pytest.fail)
            for sock in sockets:
                for _ in range(70):
                    clients.enter_context(dial(sock))
            made.close()
            await asyncio.wait_for(all_came.wait(), PATIENCE)
            for transport in events:
                transport.abort()
            await asyncio.sleep(0)
            assert made.starting == 0

    asyncio.run(main())


@pytest.mark.parametrize("pure", ["", "1"])
def test_data_sent_during_an_iteration_is_not_read_in_it_on_any_socket(monkeypatch, pure):
    """So one check of a file, in that iteration, holds for all requests that are read in it."""
    monkeypatch.setenv("STRETTA_PURE", pure)

    async def main():
        loop, events, step = asyncio.get_running_loop(), [], asyncio.Event()

        def on_event():
            if events == [b"early"]:
                loop.call_soon(events.append, "iteration")
                for each in late:
                    each.sendall(b"late")
            if len(events) >= 4:
                step.set()

        with listening(2) as sockets, ExitStack() as clients:
            new = partial(Recorder, events, on_event)
            made = Acceptor(sockets, new, backlog=9, on_exhausted=pytest.fail)
            early = [clients.enter_context(dial(sock)) for sock in sockets]
            late = [clients.enter_context(dial(sock)) for sock in sockets]
            await asyncio.wait_for(step.wait(), PATIENCE)
            transports = events[:]
            events.clear()
            step.clear()
            for each in early:
                each.sendall(b"early")
            while events.count(b"late") < 2:
                await asyncio.wait_for(step.wait(), PATIENCE)
                step.clear()
            made.close()
            for transport in transports:
                transport.abort()
            await asyncio.sleep(0)
        return events

    events = asyncio.run(main())
    assert sorted(events, key=str) == [b"early", b"early", b"late", b"late", "iteration"]
    assert events.index("iteration") < events.index(b"late")
