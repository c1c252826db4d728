# cython: language_level=3, boundscheck=False, wraparound=False
"""Receive and send many datagrams with one system call: recvmmsg(2), sendmmsg(2), udp(7).

Compiled with Cython where there is a C compiler; ``mmsg.py`` is the fallback.

Replies of one size to one client can leave as one message that the kernel segments (UDP_SEGMENT):
it passes the network stack once. A capture on loopback shows that message unsegmented.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_AsStringAndSize
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

import os
import socket

__all__ = ["DatagramBatch"]

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    enum:
        AF_INET, AF_INET6, MSG_DONTWAIT
    size_t CMSG_SPACE(size_t length)
    size_t CMSG_LEN(size_t length)
    unsigned char *CMSG_DATA(cmsghdr *message)
    int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_UDP
    struct in6_addr:
        pass
    struct sockaddr_in:
        uint32_t sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    uint16_t ntohs(uint16_t number)
    uint32_t ntohl(uint32_t number)

cdef enum:
    SIZE = 64  # datagrams of one call, and the most segments of a message
    LONGEST = 65535
    ROOM = 65600  # from one buffer to the next: with 65,536 all would share a cache line
    CONTROL = 12  # words for the ancillary data of a datagram: its mark and its local address
    UDP_SEGMENT = 103  # not in every C library
    SHORTEST_RUN = 16  # shorter runs gain little, and a capture shows the datagrams one by one
    MOST_CUTS = 4  # SIZE / SHORTEST_RUN
    MOST_BYTES = 65000  # of one message, before it is segmented
    PAUSE = 1024  # batches without segmented messages, after one was refused


cdef class DatagramBatch:
    """The datagrams of one receive call, and the call that sends their replies."""

    cdef int fd, family, count
    cdef bint can_cut
    cdef int pause  # batches left without segmented messages
    cdef char *room
    cdef mmsghdr incoming[SIZE]
    cdef mmsghdr outgoing[SIZE]
    cdef iovec places[SIZE]
    cdef iovec replies[SIZE]
    cdef sockaddr_in6 names[SIZE]  # a sockaddr_in has room there too
    cdef uint64_t controls[SIZE][CONTROL]
    cdef uint64_t cut_controls[MOST_CUTS][CONTROL]

    def __cinit__(self, sock):
        cdef msghdr *header
        cdef int size, i
        cdef socklen_t length = sizeof(size)
        self.room = <char *>malloc(SIZE * ROOM)  # pages that are never used take no memory
        if not self.room:
            raise MemoryError
        self.fd, self.family = sock.fileno(), sock.family
        self.can_cut = not getsockopt(self.fd, IPPROTO_UDP, UDP_SEGMENT, &size, &length)
        for i in range(SIZE):
            self.places[i].iov_base = self.room + i * ROOM
            self.places[i].iov_len = LONGEST
            header = &self.incoming[i].msg_hdr
            header.msg_name = &self.names[i]
            header.msg_namelen = self.name_length()
            header.msg_iov = &self.places[i]
            header.msg_iovlen = 1
            header.msg_control = self.controls[i]

    def __dealloc__(self):
        free(self.room)

    # receiving

    def receive(self):
        """Receive datagrams; return how many, at most SIZE, 0 if there is none. Raises OSError."""
        cdef int i
        for i in range(SIZE):
            self.incoming[i].msg_hdr.msg_controllen = sizeof(self.controls[i])
        self.count = recvmmsg(self.fd, self.incoming, SIZE, MSG_DONTWAIT, NULL)
        if self.count < 0:
            self.count = 0
            if errno != EAGAIN:
                raise OSError(errno, os.strerror(errno))
        return self.count

    def sources(self):
        """Return a key for the sender of each datagram."""
        cdef int i
        if self.family == AF_INET:  # family, port and address, without the padding
            return [ipv4_source(&self.names[i]) for i in range(self.count)]
        return [(<char *>&self.names[i])[:sizeof(sockaddr_in6)] for i in range(self.count)]

    def requests(self):
        """Return the datagrams' data."""
        cdef char *data
        cdef int i
        requests = []
        for i in range(self.count):
            data = <char *>self.places[i].iov_base
            requests.append(data[: self.incoming[i].msg_len])
        return requests

    def shared_control(self):
        """Return the ancillary data if all datagrams have the same; else None."""
        cdef size_t length = self.incoming[0].msg_hdr.msg_controllen
        cdef int i
        for i in range(1, self.count):
            if (
                self.incoming[i].msg_hdr.msg_controllen != length
                or memcmp(self.controls[i], self.controls[0], length)
            ):
                return None
        return self.control(0)

    def control(self, int number):
        """Return the ancillary data of one datagram, in the layout of cmsg(3)."""
        cdef char *control = <char *>self.controls[number]
        return control[: self.incoming[number].msg_hdr.msg_controllen]

    def address(self, int number):
        """Return the sender's address of one datagram, as the socket module returns it."""
        cdef sockaddr_in6 *name = &self.names[number]
        cdef char *host
        port = ntohs(name.sin6_port)  # in the same place in both
        if self.family == AF_INET:
            host = <char *>&(<sockaddr_in *>name).sin_addr
            return socket.inet_ntop(socket.AF_INET, host[:4]), port
        host = <char *>&name.sin6_addr
        return (
            socket.inet_ntop(socket.AF_INET6, host[:16]), port,
            ntohl(name.sin6_flowinfo), name.sin6_scope_id,
        )

    # sending

    def answer(self, list replies not None, bytes control not None, failed):
        """Send one reply to the sender of each datagram.

        ``control`` is the ancillary data of each reply. ``failed`` is called with the number
        and the error of each reply that could not be sent.
        """
        cdef char *reply
        cdef Py_ssize_t length
        cdef int at, i, done, number
        cdef bint cutting = self.can_cut and not self.pause
        if len(replies) != self.count or len(control) + CMSG_SPACE(sizeof(uint16_t)) > 8 * CONTROL:
            raise ValueError("the number of replies is wrong, or the ancillary data is too long")
        for at in range(self.count):
            PyBytes_AsStringAndSize(replies[at], &reply, &length)  # also of a subclass of bytes
            self.replies[at].iov_base = reply
            self.replies[at].iov_len = length
        if self.pause:
            self.pause -= 1
        at = 0
        while at < self.count:
            done = sendmmsg(
                self.fd, self.outgoing, self.lay_out(at, control, cutting), MSG_DONTWAIT
            )
            if done > 0:
                for i in range(done):
                    at += self.outgoing[i].msg_hdr.msg_iovlen
                continue
            number = errno
            if self.outgoing[0].msg_hdr.msg_iovlen == 1:
                failed(at, OSError(number, os.strerror(number)))
                at += 1
                continue
            # nothing of the message was sent; each datagram may still go by itself, in fragments for
            # example. A path, a tunnel or a device that refuses often does so for a while only
            cutting = False
            if number != EAGAIN:
                self.pause = PAUSE

    cdef int lay_out(self, int at, bytes control, bint cutting) noexcept:
        """Lay out the replies from ``at`` on as messages; return how many messages."""
        cdef msghdr *message
        cdef int messages = 0, cuts = 0, length
        while at < self.count:
            message = &self.outgoing[messages].msg_hdr
            message.msg_name = &self.names[at]
            message.msg_namelen = self.name_length()
            message.msg_iov = &self.replies[at]
            length = self.run(at) if cutting else 1
            if length >= SHORTEST_RUN:
                message.msg_iovlen = length
                message.msg_control = self.cut_controls[cuts]
                message.msg_controllen = segment_control(
                    <char *>self.cut_controls[cuts], control, <uint16_t>self.replies[at].iov_len
                )
                cuts += 1
            else:
                message.msg_iovlen = length = 1
                message.msg_control = PyBytes_AS_STRING(control)
                message.msg_controllen = len(control)
            messages += 1
            at += length
        return messages

    cdef int run(self, int first) noexcept nogil:
        """Return how many replies from ``first`` on have one size (the last may be shorter) and peer."""
        cdef size_t size = self.replies[first].iov_len, total = 0, length
        cdef int at = first
        while at < self.count and not memcmp(
            &self.names[at], &self.names[first], self.name_length()
        ):
            length = self.replies[at].iov_len
            total += length
            if length > size or not length or total > MOST_BYTES:
                break
            at += 1
            if length < size:
                break
        return at - first

    cdef socklen_t name_length(self) noexcept nogil:
        return sizeof(sockaddr_in) if self.family == AF_INET else sizeof(sockaddr_in6)


cdef inline uint64_t ipv4_source(sockaddr_in6 *name) noexcept:
    """Return family, port and address in one number; a sockaddr is not aligned for eight bytes."""
    cdef uint64_t source
    memcpy(&source, name, sizeof(source))
    return source


cdef size_t segment_control(char *control, bytes shared, uint16_t size) noexcept:
    """Write the ancillary data of a message that is segmented into datagrams of this size."""
    cdef cmsghdr *cut = <cmsghdr *>(control + len(shared))
    memcpy(control, PyBytes_AS_STRING(shared), len(shared))
    cut.cmsg_level, cut.cmsg_type = IPPROTO_UDP, UDP_SEGMENT
    cut.cmsg_len = CMSG_LEN(sizeof(size))
    memcpy(CMSG_DATA(cut), &size, sizeof(size))
    return len(shared) + CMSG_SPACE(sizeof(size))
