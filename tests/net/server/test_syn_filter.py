"""The filter of a listening socket that is about to close."""

import socket
import sys

import pytest

from stretta.net.server.syn_filter import ignore_new_connections
from support import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no filter")


def test_a_filtered_socket_takes_no_new_connection_and_keeps_the_others():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), PATIENCE) as first,
        socket.socket() as late,
    ):
        ignore_new_connections(listener)
        late.setblocking(False)
        with pytest.raises(BlockingIOError):
            late.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            first.sendall(b"ciao")
            assert accepted.recv(10) == b"ciao"
            accepted.sendall(b"CIAO")
            assert first.recv(10) == b"CIAO"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_socket_that_takes_no_filter_is_left_as_it_is():
    left, right = socket.socketpair()
    left.close()
    ignore_new_connections(left)
    right.close()
