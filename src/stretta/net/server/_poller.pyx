# cython: language_level=3, boundscheck=False, wraparound=False
"""Accepted connections in an epoll set of their own, which the event loop sees as one descriptor.

What ``net/server/accept.py`` does with a transport object from a library, this does with a fifth of its
memory: a struct for each connection, one buffer for all, and no Python between the kernel's
event and the protocol's ``data_received``. Compiled with Cython where a C compiler is; nothing
needs it.

Each socket is watched edge-triggered (epoll(7)): nothing need be told to the kernel when reading
pauses. So whoever leaves data unread, or unsent while there is room, must arm the socket again.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromObject
from cython cimport final
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, errno
from libc.stdint cimport UINT32_MAX, uint32_t
from libc.stdlib cimport free, malloc
from posix.unistd cimport close

import os
import socket
from asyncio.trsock import TransportSocket
from collections import deque

__all__ = ["Poller", "Transport"]

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET
        EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int most, int milliseconds)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    enum:
        AF_INET6, MSG_MORE, MSG_NOSIGNAL, SHUT_WR, SOCK_NONBLOCK, SOCK_CLOEXEC
    int accept4(int fd, sockaddr *address, socklen_t *length, int flags)
    int shutdown(int fd, int how)
    ssize_t recv(int fd, void *data, size_t length, int flags)
    ssize_t send(int fd, const void *data, size_t length, int flags)

cdef extern from "<sys/sendfile.h>" nogil:
    ctypedef long off_t
    ssize_t sendfile(int to, int source, off_t *offset, size_t count)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    unsigned short ntohs(unsigned short number)
    uint32_t ntohl(uint32_t number)

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int family, const void *address, char *text, socklen_t length)

cdef enum:
    ROOM = 256 * 1024  # bytes received at a time, in one buffer for all
    MOST_EVENTS = 256  # connections that get their turn before the event loop looks elsewhere
    MOST_SENT = 1024 * 1024  # bytes to one peer before others get their turn
    AHEAD = 4  # connections between the one whose turn it is and the one that is fetched
    LARGE = 4096  # of this, a protocol that ``takes_views`` gets no copy
    HIGH = 64 * 1024  # as asyncio's own
    LOW = 16 * 1024

cdef extern from *:
    """
    /* Have the processor bring an object while we do something else: of thousands of connections,
       each is out of its caches when its turn comes. */
    static void fetch(const void *object)
    {
        const char *start = (const char *)object - 16; /* what the collector keeps before it */
        for (int line = 0; line < 3; line++)
            __builtin_prefetch(start + 64 * line, 1);
    }
    """
    void fetch(const void *object)

cdef extern from "Python.h":
    void *PyList_GET_ITEM(list items, Py_ssize_t at)  # without a reference of ours

cdef enum State:
    ENDING  # it ends when the protocols have had their turn, or has, or never began
    OPEN
    FLUSHING  # closed by us, and something is still to be sent


cdef failure(int number):
    """Return the exception that stands for an errno."""
    return OSError(number, os.strerror(number))


@final
cdef class Poller:
    """The connections that a server has accepted, on all its listening sockets.

    ``loop`` is the event loop that runs them, asyncio's or one like it. Raises OSError as
    epoll_create1(2) fails.
    """

    cdef int epoll
    cdef bint within, retired, scheduled
    cdef int open
    cdef Room room
    cdef object loop
    cdef list table  # transports by descriptor
    cdef object ending  # transports that are over, and why

    def __cinit__(self, loop):
        self.epoll = -1
        self.room = Room.__new__(Room)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise failure(errno)
        self.loop, self.table, self.ending = loop, [], deque()
        loop.add_reader(self.epoll, self.ready)

    def __dealloc__(self):
        if self.epoll >= 0:
            close(self.epoll)

    def accept(self, int listener, factory, int most):
        """Take up to ``most`` connections that wait; return whether more may.

        ``listener`` is the descriptor of a TCP socket; ``factory()`` makes the protocol of each.
        Raises OSError as accept(2) fails, and as epoll_ctl(2) does for one more descriptor.
        """
        cdef sockaddr_in6 peer
        cdef socklen_t length
        cdef int fd
        for _ in range(most):
            length = sizeof(peer)
            fd = accept4(listener, <sockaddr *>&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.begin(fd, &peer, factory)
            elif errno == EAGAIN:
                return False
            elif errno != ECONNABORTED and errno != EINTR:  # not just reset while it waited
                raise failure(errno)
        return True

    cdef int begin(self, int fd, sockaddr_in6 *peer, factory) except -1:
        """Give a connection its transport and its protocol."""
        cdef Transport transport
        try:
            transport = Transport.__new__(Transport)
        except MemoryError:
            close(fd)
            raise
        transport.fd, transport.peer, transport.poller = fd, peer[0], self
        while fd >= len(self.table):
            self.table.append(None)
        # before anything is written: what the kernel does not take then has to wait for an edge
        if transport.watch(EPOLL_CTL_ADD):
            raise failure(errno)
        self.table[fd] = transport
        self.open += 1
        transport.state = OPEN
        try:
            transport.set_protocol(factory())
            transport.protocol.connection_made(transport)
        except BaseException as error:
            transport.fail("connection_made", error)
        return 0

    def retire(self):
        """Let go of everything as soon as the last connection has ended; accept no more."""
        self.retired = True
        self.leave()

    def ready(self):
        """Be called by the event loop when any connection has something new."""
        cdef epoll_event events[MOST_EVENTS]
        cdef int count = epoll_wait(self.epoll, events, MOST_EVENTS, 0)
        cdef int at = 0
        self.within = True
        try:
            for at in range(count):
                if at + AHEAD < count:
                    fetch(PyList_GET_ITEM(self.table, events[at + AHEAD].data.fd))
                item = self.table[events[at].data.fd]
                if item is not None:  # else a process that was forked keeps open what has ended
                    (<Transport>item).wake(events[at].events)
        except BaseException:  # the loop's caller may go on: no edge must be lost, and no end
            for at in range(at, count):
                item = self.table[events[at].data.fd]
                if item is not None:
                    (<Transport>item).arm()
            self.sweep_soon()
            raise
        finally:
            self.within = False
        if self.ending:
            self.sweep()

    cdef int end(self, Transport transport, error) except -1:
        """Note that a connection is over; its protocol hears of it when it waits for nothing."""
        self.ending.append((transport, error))
        if not self.within:
            self.sweep_soon()
        return 0

    cdef int sweep_soon(self) except -1:
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self.sweep)
        return 0

    def sweep(self):
        """Close what has ended."""
        cdef Transport transport
        self.scheduled = False
        try:
            while self.ending:
                transport, error = self.ending.popleft()
                self.table[transport.fd] = None
                self.open -= 1
                transport.finish(error)
        finally:
            if self.ending:  # an interrupt
                self.sweep_soon()
            elif self.retired:
                self.leave()

    cdef int leave(self) except -1:
        if not self.open and self.epoll >= 0:
            self.loop.remove_reader(self.epoll)
            close(self.epoll)
            self.epoll = -1
        return 0

    def trouble(self, what, error, transport, protocol):
        """Tell of a protocol's exception as asyncio does."""
        self.loop.call_exception_handler({
            "message": what, "exception": error, "transport": transport, "protocol": protocol,
        })


@final
cdef class Room:
    """Where what comes is received, for all connections; it lives as long as any view of it."""

    cdef char *start
    cdef Py_ssize_t held
    cdef int views  # that somebody has

    def __cinit__(self):
        self.start = <char *>malloc(ROOM)
        if not self.start:
            raise MemoryError

    def __dealloc__(self):
        free(self.start)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.start, self.held, True, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.views -= 1


@final
cdef class Transport:
    """One connection: what asyncio.Transport describes, ``sendfile`` and ``offer_file``.

    For an asyncio.Protocol, not for a BufferedProtocol. Only a Poller makes one that does anything.
    A protocol that raises an exception has failed, and its connection ends.
    """

    cdef Poller poller
    cdef object protocol
    cdef object quick  # what may answer in its stead
    cdef object sock  # made when somebody asks for it
    cdef object queue  # what is still to be sent: bytes, or a Stretch of a file
    cdef Py_ssize_t pending  # its bytes
    cdef Py_ssize_t at  # those of its first item that have been sent
    cdef uint32_t high, low  # bytes that hold the protocol, and that let it go on
    cdef int fd, more  # flag for send(2)
    cdef sockaddr_in6 peer
    cdef unsigned char state  # State
    cdef unsigned char unread  # something may be there to be received
    cdef unsigned char lent  # the descriptor, to ``sock``
    cdef unsigned char answered  # by ``quick``, since that was last asked
    cdef unsigned char takes_views, paused, blocked, heard_all, watches_room, ends_writing

    def __cinit__(self):
        self.fd = -1
        self.high, self.low = HIGH, LOW

    def __dealloc__(self):
        if self.fd >= 0 and not self.lent:
            close(self.fd)

    # what the kernel says

    cdef int watch(self, int operation) noexcept:
        """Ask for edges; where something can be done already, that is one. As epoll_ctl(2)."""
        cdef epoll_event event
        event.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET
        if self.watches_room:
            event.events |= EPOLLOUT
        event.data.fd = self.fd
        return epoll_ctl(self.poller.epoll, operation, self.fd, &event)

    cdef int arm(self) except -1:
        """Ask for one more edge, for all that can be done already."""
        if self.watch(EPOLL_CTL_MOD):
            self.lose(errno)
        return 0

    cdef int wake(self, uint32_t events) except -1:
        """Do what there is an edge for."""
        if events & EPOLLOUT and self.queue is not None:
            self.push()
        if events & ~EPOLLOUT:
            self.unread = True
            self.pull(events)
        return 0

    cdef int pull(self, uint32_t events) except -1:
        """Receive what is there, and give it to the protocol.

        What came before the event, and no more: to receive less than the room there is means that
        all is taken, but for an end behind it, and for urgent data, before which recv(2) stops.
        """
        cdef ssize_t got
        cdef bint ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0
        cdef bint more
        cdef Room room = self.poller.room
        while self.unread and self.state == OPEN and not (self.paused or self.heard_all):
            if room.views:  # a protocol has kept one: what it shows must not change
                room = self.poller.room = Room.__new__(Room)
            got = recv(self.fd, room.start, ROOM, 0)
            if got > 0:
                more = got == ROOM or events & EPOLLPRI != 0
                self.unread = more or ended
                self.give(room, got)
                if more and self.state == OPEN and not self.paused:
                    return self.arm()  # others get their turn first
            elif got == 0:
                self.heard_all, self.unread = True, False
                self.give_end()
            elif errno == EAGAIN:
                self.unread = False
            elif errno != EINTR:
                self.lose(errno)
        return 0

    cdef int give(self, Room room, Py_ssize_t got) except -1:
        """Give the protocol what was received."""
        try:
            if got >= LARGE and self.takes_views:
                room.held = got
                data = PyMemoryView_FromObject(room)
            else:
                data = PyBytes_FromStringAndSize(room.start, got)
            if self.quick is not None:
                reply = self.quick(data)
                if reply is not None:
                    self.answered = True
                    self.write(reply)
                    return 0
            self.protocol.data_received(data)
        except BaseException as error:
            self.fail("data_received", error)
        return 0

    cdef int give_end(self) except -1:
        """Tell the protocol that the peer has said all it has to say."""
        try:
            if not self.protocol.eof_received():
                self.close()
        except BaseException as error:
            self.fail("eof_received", error)
        return 0

    cdef int push(self) except -1:
        """Send what waits, as far as the kernel takes it and others need not wait for it."""
        cdef ssize_t sent
        cdef Py_ssize_t most = MOST_SENT
        while self.queue:
            if most <= 0:
                self.watches_room = True
                self.arm()
                return self.look_at_room()
            sent = self.send_first(most)
            if sent >= 0:
                most -= sent
                self.advance(sent)
            elif errno == EAGAIN:
                self.want_room()
                return self.look_at_room()
            elif errno != EINTR:
                return self.lose(errno)
        self.queue = None
        self.look_at_room()
        if self.queue is None:
            if self.ends_writing:
                shutdown(self.fd, SHUT_WR)
            if self.state == FLUSHING:
                self.end_with(None)
        return 0

    cdef ssize_t send_first(self, Py_ssize_t most) except -2:
        """Return how much the kernel takes of what is first in the queue; -1 as send(2)."""
        cdef Stretch stretch
        first = self.queue[0]
        if type(first) is bytes:
            return send(
                self.fd, PyBytes_AS_STRING(first) + self.at, len(first) - self.at, MSG_NOSIGNAL
            )
        stretch = <Stretch>first
        return sendfile(self.fd, stretch.fd, &stretch.offset, min(stretch.count, most))

    cdef int advance(self, ssize_t sent) except -1:
        """Note that so much of the first is sent; what is sent as a whole leaves the queue."""
        cdef Stretch stretch
        cdef Py_ssize_t left
        first = self.queue[0]
        self.pending -= sent
        if type(first) is bytes:
            self.at += sent
            left = len(first) - self.at
        else:
            stretch = <Stretch>first
            stretch.count -= sent
            left = stretch.count
            if not sent:  # the file has become shorter
                self.pending -= left
                left = 0
        if not left:
            self.at = 0
            self.queue.popleft()
        return 0

    cdef int look_at_room(self) except -1:
        """Hold the protocol, or let it go on (asyncio.BaseProtocol)."""
        if self.state == ENDING:
            return 0
        try:
            if self.pending > self.high and not self.blocked:
                self.blocked = True
                self.protocol.pause_writing()
            elif self.pending <= self.low and self.blocked:
                self.blocked = False
                self.protocol.resume_writing()
        except BaseException as error:
            self.fail("pause_writing or resume_writing", error)
        return 0

    # ending

    cdef int fail(self, what, error) except -1:
        """End what a protocol has failed in; what is to end the program goes on to the loop."""
        self.end_with(error)
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise error
        self.poller.trouble(f"{what} failed", error, self, self.protocol)
        return 0

    cdef int lose(self, int number) except -1:
        return self.end_with(failure(number))

    cdef int end_with(self, error) except -1:
        if self.state != ENDING:
            self.state = ENDING
            self.queue, self.pending = None, 0
            self.poller.end(self, error)
        return 0

    cdef int finish(self, error) except -1:
        """Tell the protocol, and close the socket."""
        try:
            if self.protocol is not None:
                self.protocol.connection_lost(error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as trouble:
            self.poller.trouble("connection_lost failed", trouble, self, self.protocol)
        finally:
            self.protocol = self.quick = None
            if self.lent:
                self.lent = False
                self.sock.detach()
                self.sock = None
            close(self.fd)
            self.fd = -1
        return 0

    # what the protocol asks for (asyncio.Transport)

    def answer_with(self, quick):
        """Let a function answer what comes, without a word to the protocol.

        ``quick(data)`` returns the bytes to send, or None for what the protocol is to be given after
        all. Without a function (None) it is given everything, as in the beginning.
        """
        self.quick = quick

    def has_answered(self):
        """Return whether the function of ``answer_with`` has, since this was last asked."""
        answered, self.answered = self.answered, False
        return bool(answered)

    cpdef write(self, data):
        """Send bytes; what the kernel does not take now is kept until it does.

        ``data`` is any object with a contiguous buffer, whose bytes are copied where they have to
        wait, so that it can be used again. Nothing is sent after ``close()`` or ``write_eof()``.
        """
        cdef Py_buffer view
        cdef Py_ssize_t sent, length
        if self.state != OPEN or self.ends_writing:
            return
        rest = None
        if type(data) is bytes:
            length = len(data)
            sent = self.offer(PyBytes_AS_STRING(data), length)
            if sent < length:
                self.keep(data, sent)
        else:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                sent = self.offer(<char *>view.buf, view.len)
                if sent < view.len:
                    rest = PyBytes_FromStringAndSize(<char *>view.buf + sent, view.len - sent)
            finally:
                PyBuffer_Release(&view)
        if rest is not None:
            self.keep(rest, 0)

    cdef int keep(self, bytes data, Py_ssize_t sent) except -1:
        """Have bytes wait, but for the first, which have been ``sent``."""
        if self.state != OPEN:  # it broke just now
            return 0
        if self.queue is None:
            self.queue = deque()
            self.at = sent
        self.queue.append(data)
        self.pending += len(data) - sent
        self.want_room()
        return self.look_at_room()

    cdef Py_ssize_t offer(self, const char *data, Py_ssize_t length) except -1:
        """Return how much the kernel takes of what is next; 0 while something waits before it."""
        cdef ssize_t sent
        if self.queue is not None or not length:
            return 0
        sent = send(self.fd, data, length, MSG_NOSIGNAL | self.more)
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                self.lose(errno)
            return 0
        return sent

    cdef int want_room(self) except -1:
        """Ask to be told when the kernel takes more, once for all."""
        if not self.watches_room:
            self.watches_room = True
            self.arm()
        return 0

    def writelines(self, pieces):
        """Send several pieces as one."""
        self.write(b"".join(pieces))

    def sendfile(self, file, off_t offset, Py_ssize_t count):
        """Send ``count`` bytes of an open file from ``offset`` on, after what waits (sendfile(2)).

        ``file`` has a ``fileno()``; it is kept until the kernel has taken all from the file itself.
        Fewer are sent when it ends before: look, before the conversation goes on as if they were.
        """
        cdef Stretch stretch
        if self.state != OPEN or self.ends_writing or count <= 0:
            return
        stretch = Stretch.__new__(Stretch)
        stretch.file, stretch.fd = file, file.fileno()
        stretch.offset, stretch.count = offset, count
        self.pending += count
        if self.queue is not None:
            self.queue.append(stretch)
            self.look_at_room()
        else:
            self.queue = deque((stretch,))
            self.push()

    def offer_file(self, head, int descriptor, off_t offset, Py_ssize_t count):
        """Send ``head``, then as many bytes of an open file as the kernel takes at once.

        Returns how many those are; the others are not kept. ``head`` is, like all that is written.
        """
        cdef ssize_t sent = 0
        cdef bint sends = self.state == OPEN and not self.ends_writing and count > 0
        self.more = MSG_MORE if sends else 0  # the file's first bytes fill the head's segment
        try:
            self.write(head)
        finally:
            self.more = 0
        if sends and self.state == OPEN and self.queue is None:
            sent = sendfile(self.fd, descriptor, &offset, min(count, MOST_SENT))
            if sent < 0:
                sent = 0
                if errno != EAGAIN and errno != EINTR:
                    self.lose(errno)
        return sent

    def write_eof(self):
        """Say that nothing more will come, after all that waits (RFC 9293 section 3.6)."""
        if self.state == OPEN and not self.ends_writing:
            self.ends_writing = True
            if self.queue is None:
                shutdown(self.fd, SHUT_WR)

    def can_write_eof(self):
        """Return that it can."""
        return True

    def close(self):
        """Read no more, send what waits, then end."""
        if self.state == OPEN:
            self.state = FLUSHING
            if self.queue is None:
                self.end_with(None)

    def abort(self):
        """End at once; what waits is lost."""
        self.end_with(None)

    def is_closing(self):
        """Return whether it ends, or has ended."""
        return self.state != OPEN

    def is_reading(self):
        """Return whether the protocol would be given what comes."""
        return self.state == OPEN and not self.paused

    def pause_reading(self):
        """Give the protocol nothing until ``resume_reading()``."""
        self.paused = True

    def resume_reading(self):
        """Give the protocol what has come, and what comes."""
        if self.paused and self.state == OPEN:
            self.paused = False
            if self.unread:
                self.arm()

    def get_write_buffer_size(self):
        """Return how many bytes wait until the kernel takes them, those of files too."""
        return self.pending

    def get_write_buffer_limits(self):
        """Return the limits in bytes, the lower first."""
        return self.low, self.high

    def set_write_buffer_limits(self, high=None, low=None):
        """Hold the protocol while more than ``high`` bytes wait, until no more than ``low`` do.

        Without one of them it follows the other; without both they are asyncio's own. Raises
        ValueError where ``low`` is more than ``high``, or negative. Beyond 4 GiB is as good as never.
        """
        if high is None:
            high = HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self.high, self.low = min(high, UINT32_MAX), min(low, UINT32_MAX)
        self.look_at_room()

    def get_protocol(self):
        """Return the protocol; None when the connection has ended."""
        return self.protocol

    def set_protocol(self, protocol):
        """Give the connection to a protocol.

        One with a true ``takes_views`` gets much data as a memoryview. It may keep it, at the price
        of all the memory that there is to receive.
        """
        self.protocol, self.quick = protocol, None
        self.takes_views = bool(getattr(protocol, "takes_views", False))

    def get_extra_info(self, name, default=None):
        """Return ``peername``, also after the end; before it ``sockname``, ``socket``, ``fileno``."""
        if name == "peername":
            return self.peername() or default
        if self.fd < 0:
            return default
        if name == "fileno":
            return self.fd
        if name == "socket":
            if not self.lent:
                self.sock = socket.socket(self.peer.sin6_family, socket.SOCK_STREAM, fileno=self.fd)
                self.lent = True  # from now on the socket object closes it where nobody else has
            return TransportSocket(self.sock)
        if name == "sockname":
            return self.get_extra_info("socket").getsockname()
        return default

    cdef peername(self):
        """Return the peer's address as socket.getpeername() does."""
        cdef char text[64]
        cdef sockaddr_in *short = <sockaddr_in *>&self.peer
        cdef int family = self.peer.sin6_family
        cdef void *address = &self.peer.sin6_addr if family == AF_INET6 else &short.sin_addr
        if inet_ntop(family, address, text, sizeof(text)) == NULL:
            return None
        if family != AF_INET6:
            return text.decode(), ntohs(short.sin_port)
        flow = ntohl(self.peer.sin6_flowinfo)
        return text.decode(), ntohs(self.peer.sin6_port), flow, self.peer.sin6_scope_id


@final
cdef class Stretch:
    """Bytes of a file that the kernel will send by itself."""

    cdef object file
    cdef int fd
    cdef off_t offset
    cdef Py_ssize_t count
