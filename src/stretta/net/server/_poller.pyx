# cython: language_level=3, boundscheck=False, wraparound=False
"""A poller: accepted connections in an epoll set of their own, one descriptor to the event loop.

The twin of ``poller.py``, with a fifth of its memory: a struct for each connection, one receive
buffer for all, and no Python between the kernel's event and the protocol's ``data_received``.
Cython compiles it where there is a C compiler; nothing requires it.

The rules of edge-triggered polling (epoll(7)), on which every method below relies:

1. An edge is reported once. Each socket is registered once, for EPOLLIN, EPOLLPRI and EPOLLRDHUP
   with EPOLLET; pausing and resuming a protocol costs no system call. EPOLLOUT is added at the
   first write that the kernel does not take, and then stays.
2. Code that stops reading before the receive queue is empty, or stops writing before the kernel
   refuses bytes, must re-arm the socket (EPOLL_CTL_MOD, ``rearm()``): the kernel then reports a
   new edge for everything that is possible at that moment.
3. A receive shorter than the buffer has emptied the queue, with two exceptions: an end of file
   behind the data (EPOLLRDHUP, EPOLLHUP, EPOLLERR were in the event), and urgent data (EPOLLPRI),
   at which recv(2) stops. ``unread`` stays true in both cases.
4. While the protocol is paused nothing is received, and ``unread`` notes that an edge came;
   ``resume_reading()`` re-arms exactly then.
5. A protocol may close, pause, resume or write in any callback. So each loop checks ``state`` and
   ``paused`` again after each callback, and no connection is freed inside one: ``end_with()``
   queues it, and ``sweep()`` calls ``connection_lost()`` after the events of this iteration.
6. Fairness: one connection receives one buffer (RECEIVE_SIZE) or sends MAX_SENT bytes for one
   event, then re-arms and waits for the others.
7. An exception that ends the program (KeyboardInterrupt) re-arms the connections whose events
   were fetched and not handled, for a caller that goes on.

The states of a connection: OPEN; FLUSHING after ``close()``, until the queue is sent; CLOSED. A
CLOSED connection has its file descriptor until ``sweep()``, so the kernel cannot reuse the number
for another one within the same iteration.
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
    RECEIVE_SIZE = 256 * 1024  # bytes received at a time
    MAX_EVENTS = 256  # connections served in one call of ready()
    MAX_SENT = 1024 * 1024  # bytes sent for one event
    PREFETCH = 4  # connections between the current one and the prefetched one
    LARGE = 4096  # bytes from which a protocol that ``takes_views`` gets no copy
    HIGH = 64 * 1024  # asyncio's own watermarks
    LOW = 16 * 1024

cdef extern from *:
    """
    /* Prefetch an object into the processor's cache: with thousands of connections, none is still
       there when its next event comes. */
    static void prefetch(const void *object)
    {
        const char *start = (const char *)object - 16; /* the garbage collector's header */
        for (int line = 0; line < 3; line++)
            __builtin_prefetch(start + 64 * line, 1);
    }
    """
    void prefetch(const void *object)

cdef extern from "Python.h":
    void *PyList_GET_ITEM(list items, Py_ssize_t at)  # a borrowed reference

cdef enum State:
    CLOSED  # connection_lost() is queued or has been called, or the connection never opened
    OPEN
    FLUSHING  # close() was called, and bytes are still queued


cdef failure(int number):
    """Return the exception for an errno."""
    return OSError(number, os.strerror(number))


@final
cdef class Poller:
    """The accepted connections of a server, on all its listening sockets.

    ``loop`` is an asyncio event loop. Raises OSError as epoll_create1(2) does.
    """

    cdef int epoll
    cdef bint dispatching, retired, scheduled
    cdef int open
    cdef ReceiveBuffer buffer
    cdef object loop
    cdef list table  # transports by descriptor
    cdef object ended  # transports and their errors, for sweep()

    def __cinit__(self, loop):
        self.epoll = -1
        self.buffer = ReceiveBuffer.__new__(ReceiveBuffer)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise failure(errno)
        self.loop, self.table, self.ended = loop, [], deque()
        loop.add_reader(self.epoll, self.ready)

    def __dealloc__(self):
        if self.epoll >= 0:
            close(self.epoll)

    @property
    def starting(self):
        """The number of accepted connections whose protocol has not been told yet."""
        return 0

    def accept(self, listener, factory, int most):
        """Accept up to ``most`` connections; return whether more may wait.

        ``factory()`` makes the protocol of each. Raises OSError as accept(2) does, and as
        epoll_ctl(2) does for one more descriptor.
        """
        cdef sockaddr_in6 peer
        cdef socklen_t length
        cdef int fd, listening = listener.fileno()
        for _ in range(most):
            length = sizeof(peer)
            fd = accept4(listening, <sockaddr *>&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.begin(fd, &peer, factory)
            elif errno == EAGAIN:
                return False
            elif errno != ECONNABORTED and errno != EINTR:  # anything but a reset in the queue
                raise failure(errno)
        return True

    cdef int begin(self, int fd, sockaddr_in6 *peer, factory) except -1:
        """Make the transport and the protocol of a connection."""
        cdef Transport transport
        try:
            transport = Transport.__new__(Transport)
        except MemoryError:
            close(fd)
            raise
        transport.fd, transport.peer, transport.poller = fd, peer[0], self
        while fd >= len(self.table):
            self.table.append(None)
        # before connection_made() writes: bytes that the kernel does not take wait for an edge
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
        """Close the poller after the last connection has ended. No connection is accepted any more."""
        self.retired = True
        self.leave()

    def ready(self):
        """Dispatch the events of the connections. The event loop calls it."""
        cdef epoll_event events[MAX_EVENTS]
        cdef int count = epoll_wait(self.epoll, events, MAX_EVENTS, 0)
        cdef int at = 0
        self.dispatching = True
        try:
            for at in range(count):
                if at + PREFETCH < count:
                    prefetch(PyList_GET_ITEM(self.table, events[at + PREFETCH].data.fd))
                item = self.table[events[at].data.fd]
                if item is not None:  # None: a forked process still holds a connection that has ended
                    (<Transport>item).on_events(events[at].events)
        except BaseException:  # rule 7
            for at in range(at, count):
                item = self.table[events[at].data.fd]
                if item is not None:
                    (<Transport>item).rearm()
            self.sweep_soon()
            raise
        finally:
            self.dispatching = False
        if self.ended:
            self.sweep()

    cdef int end(self, Transport transport, error) except -1:
        """Queue a connection for sweep()."""
        self.ended.append((transport, error))
        if not self.dispatching:
            self.sweep_soon()
        return 0

    cdef int sweep_soon(self) except -1:
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self.sweep)
        return 0

    def sweep(self):
        """Call connection_lost() of the connections that have ended, and close their sockets."""
        cdef Transport transport
        self.scheduled = False
        try:
            while self.ended:
                transport, error = self.ended.popleft()
                self.table[transport.fd] = None
                self.open -= 1
                transport.finish(error)
        finally:
            if self.ended:  # interrupted
                self.sweep_soon()
            elif self.retired:
                self.leave()

    cdef int leave(self) except -1:
        if not self.open and self.epoll >= 0:
            self.loop.remove_reader(self.epoll)
            close(self.epoll)
            self.epoll = -1
        return 0

    def report(self, what, error, transport, protocol):
        """Report a protocol's exception as asyncio does."""
        self.loop.call_exception_handler({
            "message": what, "exception": error, "transport": transport, "protocol": protocol,
        })


@final
cdef class ReceiveBuffer:
    """The buffer that all connections receive into; it lives as long as any view of it."""

    cdef char *start
    cdef Py_ssize_t length  # of the received data
    cdef int views  # memoryviews of it

    def __cinit__(self):
        self.start = <char *>malloc(RECEIVE_SIZE)
        if not self.start:
            raise MemoryError

    def __dealloc__(self):
        free(self.start)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.start, self.length, True, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.views -= 1


@final
cdef class Transport:
    """The transport of one connection: asyncio.Transport and transport.FastTransport.

    For an asyncio.Protocol, not for a BufferedProtocol. Only a Poller makes a working one. When a
    callback of the protocol raises an exception, the connection ends.
    """

    cdef Poller poller
    cdef object protocol
    cdef object fast_path  # a function that may answer instead of the protocol
    cdef object sock  # a socket object, made on request
    cdef object queue  # unsent bytes and FileRanges; None when there are none
    cdef Py_ssize_t pending  # bytes in the queue
    cdef Py_ssize_t at  # bytes of its first item that have been sent
    cdef uint32_t high, low  # watermarks: bytes that pause and resume the protocol's writing
    cdef int fd, more  # flag for send(2)
    cdef sockaddr_in6 peer
    cdef unsigned char state  # State
    cdef unsigned char unread  # the receive queue may not be empty
    cdef unsigned char lent  # ``sock`` owns the descriptor
    cdef unsigned char answered  # by the fast path, since fast_path_used() was last called
    cdef unsigned char takes_views, paused, blocked, read_eof, wants_write, ends_writing

    def __cinit__(self):
        self.fd = -1
        self.high, self.low = HIGH, LOW

    def __dealloc__(self):
        if self.fd >= 0 and not self.lent:
            close(self.fd)

    # events from the kernel

    cdef int watch(self, int operation) noexcept:
        """Register for edges; the kernel reports at once whatever is possible now (epoll_ctl(2))."""
        cdef epoll_event event
        event.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET
        if self.wants_write:
            event.events |= EPOLLOUT
        event.data.fd = self.fd
        return epoll_ctl(self.poller.epoll, operation, self.fd, &event)

    cdef int rearm(self) except -1:
        """Request a new edge for everything that is possible now (rule 2)."""
        if self.watch(EPOLL_CTL_MOD):
            self.lose(errno)
        return 0

    cdef int on_events(self, uint32_t events) except -1:
        """Send and receive as the events allow."""
        if events & EPOLLOUT and self.queue is not None:
            self.push()
        if events & ~EPOLLOUT:
            self.unread = True
            self.pull(events)
        return 0

    cdef int pull(self, uint32_t events) except -1:
        """Receive until a short receive (rule 3), and pass the data to the protocol."""
        cdef ssize_t got
        cdef bint ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0
        cdef bint more
        cdef ReceiveBuffer buffer = self.poller.buffer
        while self.unread and self.state == OPEN and not (self.paused or self.read_eof):
            if buffer.views:  # a protocol has kept a view: its data must not change
                buffer = self.poller.buffer = ReceiveBuffer.__new__(ReceiveBuffer)
            got = recv(self.fd, buffer.start, RECEIVE_SIZE, 0)
            if got > 0:
                more = got == RECEIVE_SIZE or events & EPOLLPRI != 0
                self.unread = more or ended
                self.deliver(buffer, got)
                if more and self.state == OPEN and not self.paused:
                    return self.rearm()  # rule 6
            elif got == 0:
                self.read_eof, self.unread = True, False
                self.deliver_eof()
            elif errno == EAGAIN:
                self.unread = False
            elif errno != EINTR:
                self.lose(errno)
        return 0

    cdef int deliver(self, ReceiveBuffer buffer, Py_ssize_t got) except -1:
        """Pass received data to the fast path, else to the protocol."""
        try:
            if got >= LARGE and self.takes_views:
                buffer.length = got
                data = PyMemoryView_FromObject(buffer)
            else:
                data = PyBytes_FromStringAndSize(buffer.start, got)
            if self.fast_path is not None:
                reply = self.fast_path(data)
                if reply is not None:
                    self.answered = True
                    self.write(reply)
                    return 0
            self.protocol.data_received(data)
        except BaseException as error:
            self.fail("data_received", error)
        return 0

    cdef int deliver_eof(self) except -1:
        """Tell the protocol that the peer has finished (FIN)."""
        try:
            if not self.protocol.eof_received():
                self.close()
        except BaseException as error:
            self.fail("eof_received", error)
        return 0

    cdef int push(self) except -1:
        """Send the queue until the kernel takes no more, MAX_SENT bytes at most (rule 6)."""
        cdef ssize_t sent
        cdef Py_ssize_t most = MAX_SENT
        while self.queue:
            if most <= 0:
                self.wants_write = True
                self.rearm()
                return self.check_watermarks()
            sent = self.send_first(most)
            if sent >= 0:
                most -= sent
                self.advance(sent)
            elif errno == EAGAIN:
                self.watch_write()
                return self.check_watermarks()
            elif errno != EINTR:
                return self.lose(errno)
        self.queue = None
        self.check_watermarks()
        if self.queue is None:
            if self.ends_writing:
                shutdown(self.fd, SHUT_WR)
            if self.state == FLUSHING:
                self.end_with(None)
        return 0

    cdef ssize_t send_first(self, Py_ssize_t most) except -2:
        """Send from the first item of the queue; return as send(2) does."""
        cdef FileRange file_range
        first = self.queue[0]
        if type(first) is bytes:
            return send(
                self.fd, PyBytes_AS_STRING(first) + self.at, len(first) - self.at, MSG_NOSIGNAL
            )
        file_range = <FileRange>first
        return sendfile(self.fd, file_range.fd, &file_range.offset, min(file_range.count, most))

    cdef int advance(self, ssize_t sent) except -1:
        """Advance in the queue by ``sent`` bytes of its first item."""
        cdef FileRange file_range
        cdef Py_ssize_t left
        first = self.queue[0]
        self.pending -= sent
        if type(first) is bytes:
            self.at += sent
            left = len(first) - self.at
        else:
            file_range = <FileRange>first
            file_range.count -= sent
            left = file_range.count
            if not sent:  # the file was truncated
                self.pending -= left
                left = 0
        if not left:
            self.at = 0
            self.queue.popleft()
        return 0

    cdef int check_watermarks(self) except -1:
        """Pause or resume the protocol's writing (asyncio.BaseProtocol)."""
        if self.state == CLOSED:
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
        """End the connection after a callback failed; re-raise what is to end the program."""
        self.end_with(error)
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise error
        self.poller.report(f"{what} failed", error, self, self.protocol)
        return 0

    cdef int lose(self, int number) except -1:
        return self.end_with(failure(number))

    cdef int end_with(self, error) except -1:
        if self.state != CLOSED:
            self.state = CLOSED
            self.queue, self.pending = None, 0
            self.poller.end(self, error)
        return 0

    cdef int finish(self, error) except -1:
        """Call connection_lost() and close the socket."""
        try:
            if self.protocol is not None:
                self.protocol.connection_lost(error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as failed:
            self.poller.report("connection_lost failed", failed, self, self.protocol)
        finally:
            self.protocol = self.fast_path = None
            if self.lent:
                self.lent = False
                self.sock.detach()
                self.sock = None
            close(self.fd)
            self.fd = -1
        return 0

    # methods for the protocol (asyncio.Transport, transport.FastTransport)

    def fileno(self):
        """Return the socket's file descriptor; -1 after the connection has ended."""
        return self.fd

    def set_fast_path(self, reply):
        """Answer received data with ``reply`` before the protocol sees it.

        ``reply(data)`` returns the bytes to send, or None to pass the data to the protocol. None
        instead of a function turns the fast path off.
        """
        self.fast_path = reply

    def fast_path_used(self):
        """Return whether the fast path has answered since the last call."""
        answered, self.answered = self.answered, False
        return bool(answered)

    cpdef write(self, data):
        """Send bytes; bytes that the kernel does not take now are queued.

        ``data`` is any object with a contiguous buffer; queued bytes are copied, so the caller may
        reuse it. Nothing is sent after ``close()`` or ``write_eof()``.
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
                self.enqueue(data, sent)
        else:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                sent = self.offer(<char *>view.buf, view.len)
                if sent < view.len:
                    rest = PyBytes_FromStringAndSize(<char *>view.buf + sent, view.len - sent)
            finally:
                PyBuffer_Release(&view)
        if rest is not None:
            self.enqueue(rest, 0)

    cdef int enqueue(self, bytes data, Py_ssize_t sent) except -1:
        """Queue bytes, of which the first ``sent`` have been sent."""
        if self.state != OPEN:  # the connection has just failed
            return 0
        if self.queue is None:
            self.queue = deque()
            self.at = sent
        self.queue.append(data)
        self.pending += len(data) - sent
        self.watch_write()
        return self.check_watermarks()

    cdef Py_ssize_t offer(self, const char *data, Py_ssize_t length) except -1:
        """Send bytes now; return how many. 0 while earlier ones are queued."""
        cdef ssize_t sent
        if self.queue is not None or not length:
            return 0
        sent = send(self.fd, data, length, MSG_NOSIGNAL | self.more)
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                self.lose(errno)
            return 0
        return sent

    cdef int watch_write(self) except -1:
        """Register for EPOLLOUT edges, once."""
        if not self.wants_write:
            self.wants_write = True
            self.rearm()
        return 0

    def writelines(self, pieces):
        """Send several pieces as one."""
        self.write(b"".join(pieces))

    def sendfile(self, file, off_t offset, Py_ssize_t count):
        """Queue ``count`` bytes of an open file from ``offset`` on (sendfile(2)).

        ``file`` has a ``fileno()``; a reference to it is kept until all is sent. If the file is
        truncated, fewer bytes are sent: the caller must check before it sends more.
        """
        cdef FileRange file_range
        if self.state != OPEN or self.ends_writing or count <= 0:
            return
        file_range = FileRange.__new__(FileRange)
        file_range.file, file_range.fd = file, file.fileno()
        file_range.offset, file_range.count = offset, count
        self.pending += count
        if self.queue is not None:
            self.queue.append(file_range)
            self.check_watermarks()
        else:
            self.queue = deque((file_range,))
            self.push()

    def offer_file(self, head, int descriptor, off_t offset, Py_ssize_t count):
        """Write ``head``, then send as many bytes of an open file as the kernel takes at once.

        Return how many of the file; the others are not queued. ``head`` is, as in ``write()``.
        """
        cdef ssize_t sent = 0
        cdef bint sends = self.state == OPEN and not self.ends_writing and count > 0
        self.more = MSG_MORE if sends else 0  # the file's first bytes fill the head's segment
        try:
            self.write(head)
        finally:
            self.more = 0
        if sends and self.state == OPEN and self.queue is None:
            sent = sendfile(self.fd, descriptor, &offset, min(count, MAX_SENT))
            if sent < 0:
                sent = 0
                if errno != EAGAIN and errno != EINTR:
                    self.lose(errno)
        return sent

    def write_eof(self):
        """Send FIN after the queue (RFC 9293 section 3.6)."""
        if self.state == OPEN and not self.ends_writing:
            self.ends_writing = True
            if self.queue is None:
                shutdown(self.fd, SHUT_WR)

    def can_write_eof(self):
        """Return True."""
        return True

    def close(self):
        """Stop reading, send the queue, then end."""
        if self.state == OPEN:
            self.state = FLUSHING
            if self.queue is None:
                self.end_with(None)

    def abort(self):
        """End at once; the queue is lost."""
        self.end_with(None)

    def is_closing(self):
        """Return whether the connection is closing or closed."""
        return self.state != OPEN

    def is_reading(self):
        """Return whether the protocol gets received data."""
        return self.state == OPEN and not self.paused

    def pause_reading(self):
        """Pass no data to the protocol until ``resume_reading()``."""
        self.paused = True

    def resume_reading(self):
        """Pass received data to the protocol again, starting with the unread (rule 4)."""
        if self.paused and self.state == OPEN:
            self.paused = False
            if self.unread:
                self.rearm()

    def get_write_buffer_size(self):
        """Return the number of queued bytes, those of files included."""
        return self.pending

    def get_write_buffer_limits(self):
        """Return the low and the high watermark in bytes."""
        return self.low, self.high

    def set_write_buffer_limits(self, high=None, low=None):
        """Pause the protocol's writing above ``high`` queued bytes, resume it at ``low``.

        One of them follows from the other; the defaults are asyncio's own. Values above 4 GiB are
        taken as 4 GiB. Raises ValueError when ``low`` is negative or more than ``high``.
        """
        if high is None:
            high = HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self.high, self.low = min(high, UINT32_MAX), min(low, UINT32_MAX)
        self.check_watermarks()

    def get_protocol(self):
        """Return the protocol; None after the connection has ended."""
        return self.protocol

    def set_protocol(self, protocol):
        """Replace the protocol.

        One with a true ``takes_views`` gets LARGE data as a memoryview. It may keep the view, which
        keeps a whole receive buffer alive.
        """
        self.protocol, self.fast_path = protocol, None
        self.takes_views = bool(getattr(protocol, "takes_views", False))

    def get_extra_info(self, name, default=None):
        """Return ``peername``; before the end of the connection also ``sockname`` and ``socket``."""
        if name == "peername":
            return self.peername() or default
        if self.fd < 0:
            return default
        if name == "socket":
            if not self.lent:
                self.sock = socket.socket(self.peer.sin6_family, socket.SOCK_STREAM, fileno=self.fd)
                self.lent = True  # the socket object closes the descriptor if we do not
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
cdef class FileRange:
    """A byte range of a file, sent with sendfile(2)."""

    cdef object file
    cdef int fd
    cdef off_t offset
    cdef Py_ssize_t count
