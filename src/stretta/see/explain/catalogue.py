"""The sentences of all explanations, by the keys of their phrases; ``wording`` explains the braces.

Nothing decides by these words: another catalogue can take the place of this one.
"""

from __future__ import annotations

__all__ = ["SENTENCES"]

SENTENCES: dict[str, str] = {
    # parts that several rules use
    "time": "{wait:time}",
    "call": "{name}()",
    "fate.unknown": "did not arrive",
    "fate.lost": "was lost on the wire ({option})",
    "fate.cut": "was lost, as the wire was unplugged ({option})",
    "fate.queue-full": "was lost, as the slow wire's queue was full ({option})",
    "fate.corrupted": "was damaged on the wire, and its receiver's kernel dropped it ({option})",
    "fate.reset": "was stopped on the wire ({option})",
    "fate.not-whole": "did not arrive whole",
    # connection
    "handshake": (
        "connect() took {wait:time}, one round trip: SYN there, SYN ACK back. It returned when SYN"
        " ACK arrived, and did not wait for the third segment, ACK."
    ),
    "handshake.long": (
        "connect() took {wait:time}: one round trip, SYN there and SYN ACK back, took {trip:time},"
        " the scheduler and strace the rest. It did not wait for the third segment, ACK."
    ),
    "not-blocking": (
        "connect() returned at once with EINPROGRESS: the socket does not block{went_on}."
    ),
    "not-blocking.went-on": ", and the handshake went on without it for {wait:time}",
    "waited.handshake": "The handshake took {wait:time}",
    "waited.connect": "connect() waited {wait:time}",
    "lost-first": "{fate}",
    "lost-first.often": "{fate} {count:times}",
    "lost-first.variously": "{fates:and}",
    "lost-syn": (
        "{waited}: the SYN {fates}, and {host:kernel} sent it again {later:and} later, after its"
        " retransmission time-out, 1 s at first (RFC 6298)."
    ),
    "lost-syn-ack": "{waited}: the SYN ACK {fates}, and {done}.",
    "lost-syn-ack.asked": (
        "{peer:kernel}, without an answer, sent its SYN again after its retransmission time-out,"
        " 1 s at first (RFC 6298); so {host:kernel} answered again, {later:and} later"
    ),
    "lost-syn-ack.alone": (
        "{host:kernel} sent it again {later:and} later, after its retransmission time-out, 1 s at"
        " first (RFC 6298)"
    ),
    "lost-syn-ack.both": "{parts:and}",
    "lost-handshake-ack": (
        "The ACK that completes the handshake {fate}. {host:Host} was connected already. The next"
        " segment acknowledges the same, and established the connection for {peer:host}."
    ),
    "lost-handshake-ack.open": (
        "The ACK that completes the handshake {fate}. {host:Host} was connected already;"
        " {peer:host}"
        " still waits for an ACK."
    ),
    "refused": (
        "No socket listens on port {port} of {host:host}: {host:kernel} answered the SYN with"
        " RST{outcome}."
    ),
    "refused.connect": ", and connect() failed after {wait:time} with ECONNREFUSED",
    "refused.call": ", and {name}() reported it: ECONNREFUSED",
    "refused.option": ", and getsockopt(SO_ERROR) reported it to the program: ECONNREFUSED",
    "refused.pending": ", and the socket keeps ECONNREFUSED for the next call on it",
    "unanswered": (
        "The SYN was sent {count:times}{after} and no answer arrived ({fates:list}){outcome}."
    ),
    "unanswered.waits": ", after waits of {waits:list},",
    "unanswered.wait": ", the second time after {waits:list},",
    "unanswered.answers-lost": "the answers did not arrive",
    "unanswered.silent": "it arrived {count:times}, and nothing was sent back",
    "unanswered.each": "each {fate}",
    "unanswered.it": "it {fate}",
    "unanswered.some": "{count:times} it {fate}",
    "unanswered.pending": ": the connection was never established",
    "unanswered.failed": ": connect() gave up with {error}",
    "unanswered.killed": ": connect() was still waiting when signal {signal} ended the program",
    "unanswered.open": ": connect() never returned",
    "agreed": "In their SYNs both ends announced {parts:list}.",
    "agreed.mss": "segments of at most {size:,} bytes (MSS)",
    "agreed.scale": "windows scaled by {one} and {two}",
    "agreed.sack": "selective acknowledgements (SACK)",
    "agreed.timestamps": "timestamps",
    "accept-waited": (
        "accept() waited {wait:time} for a connection; it returned when the segment that completes"
        " the handshake arrived."
    ),
    "accept-waited.longer": (
        "accept() waited {wait:time} for a connection; it returned {rest:time} after the segment"
        " that completes the handshake arrived."
    ),
    "accepted-late": (
        "The connection had been established for {wait:time} when the program called accept(): the"
        " kernel completes handshakes without the program and keeps the connections in the listen"
        " queue."
    ),
    "never-accepted": (
        "The connection was established, yet no program called accept() for it: the kernel"
        " completed the handshake{then}."
    ),
    "never-accepted.holds": ", and holds what arrived ({size:bytes})",
    "never-accepted.reset": ". When its listening socket was closed, RST was sent{discarded}",
    "never-accepted.discarded": ", and what had arrived was discarded ({size:bytes})",
    # transfer
    "segmented": (
        "{host:Host} sent {size:bytes} in one {name}(); they travelled in {count} segments of at"
        " most {most:bytes}{why}."
    ),
    "segmented.mss": " (MSS {limit:,}, less {options} of options)",
    "coalesced": (
        "One segment carries the bytes of {calls:calls}: {host:kernel} sent together what it had."
    ),
    "received-together": (
        "One {name}() of {host:host} returned the bytes of {calls:calls}: TCP is a stream of bytes"
        " and keeps no message boundaries."
    ),
    "received-apart": (
        "The {size:bytes} of one {name}() came out of {calls:calls} at {host:host}: to read a whole"
        " message, the receiver must know its length and loop."
    ),
    "partial-send": (
        "{name}() took {taken:,} of {size:bytes}: the kernel's send buffer was full. The rest was"
        " not sent; the program must send it again, as sendall() does.{more}"
    ),
    "partial-send.more": " It happened {count:times}.",
    "send-blocked": (
        "{name}() of {size:bytes} blocked for {wait:time}: the kernel's send buffer was full,"
        " because the program sends {why}."
    ),
    "send-blocked.reader": "faster than {host:host}'s program reads",
    "send-blocked.wire": "faster than the wire carries",
    "would-block.send": (
        "{name}() returned EAGAIN {count:times}: the socket does not block, and its send buffer"
        " was full."
    ),
    "would-block.receive": (
        "{name}() returned EAGAIN {count:times}: the socket does not block, and no data had"
        " arrived yet."
    ),
    "zero-window": (
        "{host:Host}'s program did not read as fast as bytes arrived, its kernel's buffer was full,"
        " and it offered a window of 0: {peer:host} must not send. {end}{asked}"
    ),
    "zero-window.opened": "It offered room again after {wait:time}.",
    "zero-window.shut": "It never offered room again.",
    "zero-window.probes": (
        " {host:Host} asked {count:times} meanwhile whether there was room (RFC 9293 section"
        " 3.8.6.1)."
    ),
    "nagle": (
        "The {size:bytes} of this {name}() waited {wait:time} in {host:kernel}: a small segment is"
        " not sent while another is unacknowledged (Nagle, RFC 9293 section 3.7.4); it left when"
        " the acknowledgement arrived. TCP_NODELAY would send it at once."
    ),
    "delayed-ack": (
        "{host:Kernel} waited {wait:time} with this acknowledgement, in case a reply would carry it"
        " (delayed ACK, RFC 1122 section 4.2.3.2)."
    ),
    "piggyback": (
        "These bytes needed no acknowledgement of their own: it travelled in {host:host}'s reply."
    ),
    "receive-waited": "{name}() of {host:host} waited {wait:time}: {parts:list}.",
    "receive-waited.plain": (
        "{name}() of {host:host} waited {wait:time} for bytes that {peer:host} sent."
    ),
    "wait": "{wait:time} {what}",
    "wait.call": "until {host:host} called {name}()",
    "wait.kernel": "until {host:kernel} sent the bytes",
    "wait.again": "until the bytes were sent again",
    "wait.wire": "on the way",
    "wait.scheduler": "until the scheduler resumed the process",
    # loss
    "time-out": (
        "{size:bytes} {size:was|were} sent again after {wait:time}: the segment {fate}, and no"
        " acknowledgement arrived in time (RFC 6298; for the last segment of a burst the kernel may"
        " probe sooner, RFC 8985).{unseen}"
    ),
    "time-out.unseen": " The programs noticed nothing but the delay.",
    "back-off": (
        "Sent again repeatedly, each time after a longer wait ({waits:list}, ...): the time-out"
        " doubles, to spare a network in trouble (RFC 6298 section 5.5)."
    ),
    "fast-retransmit": (
        "Sent again after only {wait:time}: the segment {fate}, and acknowledgements of later"
        " segments reported it missing (fast retransmit, RFC 5681; SACK, RFC 6675).{more}"
    ),
    "fast-retransmit.more": " {count} segments were repaired like this.",
    "needless-retransmission": (
        "Sent again needlessly: the segment had arrived, but {why}. {host:Kernel} recognised the"
        " duplicate by its sequence number and discarded it."
    ),
    "needless.late": "its acknowledgement had not arrived yet",
    "needless.lost": "its acknowledgement {fate}",
    "lost-ack": (
        "This acknowledgement {fate}. That did no harm: acknowledgements are cumulative, and a"
        " later"
        " one covers the same bytes."
    ),
    "corrupted": (
        "One bit of this segment changed on the wire. Its checksum was wrong, so {host:kernel}"
        " dropped it silently: damage looks like loss."
    ),
    "doubled": (
        "The wire delivered this segment {count:times}. The receiver recognises the duplicate by"
        " its sequence number and discards it; the program gets the bytes once."
    ),
    "overtaken": (
        "A later segment overtook this one. {host:Kernel} kept the later one until the gap was"
        " filled: the program got the bytes in order."
    ),
    "lost-fin": (
        "The FIN {fate}. A FIN takes a sequence number, as a byte does, so the kernel sent it again"
        " after {wait:time}, without the program.{done}"
    ),
    "lost-fin.returned": " {name}() had returned before.",
    "unplugged": (
        "The wire was unplugged ({option}, counted from the client's start), and {count}"
        " {count:frame was|frames of this conversation were} lost.{state} {end}"
    ),
    "unplugged.stayed": " A connection is state at its two ends, not a wire: it stayed open.",
    "unplugged.state": " A connection is state at its two ends, not a wire.",
    "unplugged.through": (
        "The next frame that arrived left {wait:time} after the first that was lost."
    ),
    "unplugged.silent": "Neither end can tell: each sees only that the other is silent.",
    "forged-reset": (
        "Neither program and neither kernel sent this RST: a middlebox on the way did, to both"
        " ends,"
        " each in the other's name. Neither end can tell the difference."
    ),
    "queue-full": (
        "The slow wire's queue was full, and {count} {count:segment was|segments were} dropped:"
        " congestion loses segments in this way, and TCP detects it by the loss."
    ),
    "gave-up": (
        "{name}() failed with ETIMEDOUT: {host:kernel} had sent the same bytes again and again"
        " without an acknowledgement, and gave the connection up."
    ),
    "held-behind-gap": (
        "These bytes had arrived, but {host:kernel} held them for {wait:time}: bytes before them"
        " were missing, and a stream is read in order (head-of-line blocking)."
    ),
    # termination
    "unread-data": (
        "{before}{host:Host}'s close() with {size:bytes} unread sent RST, not FIN: it tells the"
        " other end that these bytes were discarded (RFC 2525 section 2.17)."
    ),
    "unread-data.exit": (
        "{before}{host:Host}'s program ended with {size:bytes} unread, and its kernel sent RST, not"
        " FIN: it tells the other end that these bytes were discarded (RFC 2525 section 2.17)."
    ),
    "unread-data.before": (
        "{peer:Host} sent {size:bytes} in {sends:calls}; by then {segments}"
        " {segments:segment|segments} of them had left; {receives:calls} of {host:host} returned"
        " {received:bytes}. "
    ),
    "data-after-close": (
        "Bytes arrived at {host:host} after its program had closed the socket: no program could"
        " read"
        " them, so its kernel answered with RST."
    ),
    "data-after-close.empty": (
        "A segment arrived at {host:host} after its program had closed the socket, so its kernel"
        " answered with RST."
    ),
    "connection-unknown": (
        "{host:Kernel} does not know this connection (its program has ended), so it answered with"
        " RST."
    ),
    "connection-reset": "{name}() failed with ECONNRESET: an RST had arrived.{also}",
    "connection-reset.lost": " {size:bytes} that {host:host} had sent before are lost too.",
    "broken-pipe": "{name}() failed with EPIPE: {why}.{kills}",
    "broken-pipe.over": "this direction of the connection was closed",
    "broken-pipe.shutdown": "the program itself had closed this direction with shutdown()",
    "broken-pipe.reset": "the connection had been reset before",
    "broken-pipe.signal": " SIGPIPE kills a program that does not ignore it.",
    "half-close": (
        "shutdown(SHUT_WR) ended one direction only: the FIN says that {host:host} sends no more,"
        " and {still}{went_on} (half-close, RFC 9293 section 3.6)."
    ),
    "half-close.reads": "it still reads",
    "half-close.could-read": "it could still read",
    "half-close.closed": "it closed the socket {wait:time} later without reading again",
    "half-close.went-on": "; {size:bytes} still came back after it",
    "end-of-stream": (
        "{name}() returned 0 bytes: not an error, but the end of the stream. The FIN of {host:host}"
        " had arrived, and all bytes before it had been read."
    ),
    "time-wait": (
        "{host:Host} closed first, so its end stays in TIME_WAIT, for 60 s on Linux: a late segment"
        " must not be taken for one of a new connection between the same ports."
    ),
    "time-wait.shutdown": (
        "{host:Host} was the first to send a FIN, with shutdown(), so its end stays in TIME_WAIT,"
        " for 60 s on Linux: a late segment must not be taken for one of a new connection between"
        " the same ports."
    ),
    "both-closed": "Both ends closed at once: their FINs crossed on the wire.",
    "ended-by-exit": (
        "{host:Host}'s program ended without close(): its kernel closed the socket and sent the"
        " FIN."
    ),
    "linger": (
        "SO_LINGER with 0 s made close() send RST at once: no FIN, no TIME_WAIT, and unsent bytes"
        " are lost."
    ),
    "close-went-on": (
        "{name}() returned at once. The FIN left {wait:time} later, after the bytes that were still"
        " to be sent: the kernel does that without the program."
    ),
    # application
    "http-exchange": "{request}: {status} - it came {wait:time} after the request left.",
    "tls-handshake": (
        "TLS began with ClientHello and took {wait:time} until the first encrypted record. After"
        " that, only lengths and times can be seen."
    ),
    # datagrams
    "udp.program": "The program",
    "udp.vain": "its {name}() waited {wait:time} in vain",
    "udp.more": " So it went with {count:,} more.",
    "udp-no-handshake": (
        "{name}() returned after {wait:time}, when the datagram was on its way: no handshake, no"
        " acknowledgement. It cannot know whether a receiver exists."
    ),
    "udp-lost": (
        "The datagram {fate}, and {noticed}: UDP has no acknowledgement. {sender} had succeeded all"
        " the same.{waited}{more}"
    ),
    "udp-lost.sender": "nothing told its sender",
    "udp-lost.nobody": "no program noticed",
    "udp-lost.sender-waited": " Only the sender's own time-out can tell: {wait}.",
    "udp-lost.receiver-waited": " The receiver saw only that nothing arrived: {wait}.",
    "udp-repeated": "{what}. {how}: UDP leaves repetition to the program.{more}",
    "udp-repeated.datagram": "The datagram {fate}",
    "udp-repeated.reply": "The reply {fate}",
    "udp-repeated.unseen": (
        "The same bytes were sent again after {after:time}, by the program, not by the kernel"
    ),
    "udp-repeated.noticed": (
        "The program, not the kernel, noticed that no reply arrived ({wait}), and sent the same"
        " bytes again after {after:time}"
    ),
    "udp-waited": (
        "{name}() waited {wait:time} and nothing arrived: without a time-out it would have waited"
        " for ever."
    ),
    "udp-doubled": (
        "The wire delivered this datagram {count:times}, and the program got it {taken:times}: UDP"
        " does not remove duplicates. A program that must not do a thing twice has to number its"
        " requests."
    ),
    "udp-doubled.unread": (
        "The wire delivered this datagram {count:times}, and the program did not receive it: UDP"
        " does not remove duplicates."
    ),
    "udp-overtaken": (
        "A datagram that was sent later overtook this one, and the program gets them in the order"
        " of their arrival: UDP does not keep the order."
    ),
    "udp-truncated": (
        "{name}() had room for {room:bytes} of a datagram of {size:bytes}: the other {lost:,} are"
        " lost, as one receive takes one datagram, whole or cut."
    ),
    "udp-fragmented": (
        "A datagram of {size:bytes} does not fit in one frame (MTU 1500): the IP layer sent it as"
        " {count} fragments and joined them at the other end."
    ),
    "udp-fragment-lost": (
        "One of {count} fragments {fate}, and with it the whole datagram of {size:bytes}:"
        " {host:kernel} keeps the others for 30 s and then discards them."
    ),
    "udp-refused": (
        'No socket has that port: {host:kernel} answered the datagram with ICMP "{icmp}". As the'
        " socket is connected, the kernel could tell the program: {name}() failed with {error}."
    ),
    "udp-refused-unheard": (
        'No socket has that port: {host:kernel} answered the datagram with ICMP "{icmp}", but no'
        " call reported it: the socket is not connected, or the program made no later call on it."
    ),
    "udp-empty": (
        "A datagram of 0 bytes is a datagram all the same: the receive returned 0, which does not"
        " mean the end of anything."
    ),
    "udp-unread": (
        "This datagram arrived at {host:host}, and its program never received it: it stayed in the"
        " socket's buffer, or the buffer was full."
    ),
    "udp-corrupted": (
        "One bit of this datagram changed on the wire: its checksum was wrong, and {host:kernel}"
        " dropped it silently."
    ),
    "udp-corrupted.fragments": (
        "One bit of this datagram changed on the wire: when its {count} fragments were joined, its"
        " checksum was wrong, and {host:kernel} dropped it silently."
    ),
    "udp-answered": "Question and answer took {wait:time}.",
    "udp-answered.alone": "Question and answer took {wait:time} and two datagrams, one each way.",
}
