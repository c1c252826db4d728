import pytest

from recordings import RECORDINGS, load
from stretta.see.explain import RULES

# each rule, on a recording of a real run (tests/see/record.py), with words that only that run has
FOUND = [
    ("handshake", "handshake", "one round trip"),
    ("handshake", "agreed", "at most 1,460 bytes (MSS)"),
    ("handshake", "accept-waited", "accept() waited"),
    ("handshake", "receive-waited", "recv() of the client waited 40."),
    ("handshake", "time-wait", "The server closed first"),
    ("not-blocking", "not-blocking", "EINPROGRESS"),
    ("lost-syn", "lost-syn", "connect() waited 1.0"),
    ("lost-syn-ack", "lost-syn-ack", "so the server's kernel answered again, 1.01 s later"),
    ("lost-handshake-ack", "lost-handshake-ack", "ack:1"),
    ("refused", "refused", "No socket listens on port 9 of the server"),
    ("unanswered", "unanswered", "The SYN was sent twice"),
    ("accepted-late", "accepted-late", "when the program called accept()"),
    ("never-accepted", "never-accepted", "no program called accept()"),
    ("unread-data", "segmented", "5,000 bytes in one send(); they travelled in 4 segments"),
    ("unread-data", "unread-data", "with 3,976 bytes unread sent RST, not FIN"),
    ("broken-pipe", "data-after-close", "Bytes arrived at the server"),
    ("unread-data", "connection-reset", "ECONNRESET"),
    ("small-sends", "coalesced", "the bytes of 4 calls of send()"),
    ("small-sends", "received-together", "the bytes of 5 calls of send()"),
    ("small-sends", "nagle", "waited 40."),
    ("small-receives", "received-apart", "400 bytes of one send() came out of 4 calls"),
    ("ping-pong", "delayed-ack", "delayed ACK"),
    ("ping-pong", "piggyback", "travelled in the client's reply"),
    ("full-buffers", "partial-send", "of 30,000 bytes"),
    ("full-buffers", "send-blocked", "faster than the server's program reads"),
    ("full-buffers", "would-block", "EAGAIN once"),
    ("full-buffers", "zero-window", "window of 0"),
    ("lost-thrice", "time-out", "4 bytes were sent again"),
    ("lost-thrice", "back-off", "the time-out doubles"),
    ("lost-in-the-middle", "fast-retransmit", "--drop data:3"),
    ("lost-in-the-middle", "held-behind-gap", "head-of-line"),
    ("lost-only-ack", "needless-retransmission", "ack:1"),
    ("lost-ack", "lost-ack", "did no harm"),
    ("corrupted", "corrupted", "damage looks like loss"),
    ("doubled", "doubled", "delivered this segment twice"),
    ("overtaken", "overtaken", "the bytes in order"),
    ("lost-fin", "lost-fin", "fin:1"),
    ("unplugged", "unplugged", "unplugged"),
    ("forged-reset", "forged-reset", "Neither program"),
    ("queue-full", "queue-full", "queue was full"),
    ("gave-up", "gave-up", "ETIMEDOUT"),
    ("broken-pipe", "broken-pipe", "EPIPE"),
    ("gone", "ended-by-exit", "ended without close()"),
    ("gone", "connection-unknown", "does not know this connection"),
    ("half-close", "half-close", "9 bytes still came back after it"),
    ("half-close", "end-of-stream", "returned 0 bytes"),
    ("both-closed", "both-closed", "crossed on the wire"),
    ("linger", "linger", "SO_LINGER"),
    ("close-goes-on", "close-went-on", "close() returned at once"),
    ("http", "http-exchange", "GET / HTTP/1.1: HTTP/1.0 200 OK"),
    ("tls", "tls-handshake", "ClientHello"),
    ("udp", "udp-no-handshake", "sendto() returned after"),
    ("udp", "udp-answered", "two datagrams"),
    ("udp-lost", "udp-lost", "no program noticed: UDP has no acknowledgement"),
    ("udp-repeated", "udp-repeated", "sent the same bytes again after 20"),
    ("udp-waited", "udp-waited", "nothing arrived"),
    ("udp-doubled", "udp-doubled", "the program got it twice"),
    ("udp-overtaken", "udp-overtaken", "overtook"),
    ("udp-truncated", "udp-truncated", "the other 90 are lost"),
    ("udp-fragmented", "udp-fragmented", "5,000 bytes does not fit"),
    ("udp-fragment-lost", "udp-fragment-lost", "One of 4 fragments"),
    ("udp-refused", "udp-refused", "recv() failed with ECONNREFUSED"),
    ("udp-refused-unheard", "udp-refused-unheard", "no call reported it"),
    ("udp-empty", "udp-empty", "0 bytes is a datagram all the same"),
    ("udp-unread", "udp-unread", "its program never received it"),
    ("udp-corrupted", "udp-corrupted", "its checksum was wrong"),
]
QUIET = {"handshake", "udp"}
HARMLESS = {
    "handshake", "agreed", "accept-waited", "receive-waited", "time-wait", "end-of-stream",
    "udp-no-handshake", "udp-answered",
}  # fmt: skip


@pytest.mark.parametrize(("recording", "rule", "words"), FOUND, ids=lambda value: value[:24])
def test_rule_on_a_recording(recording, rule, words):
    timeline = load(recording)
    texts = [note.text for note in timeline.notes if note.rule == rule]
    assert any(words in text for text in texts), (texts, [n.rule for n in timeline.notes])
    for note in timeline.notes:
        assert all(0 <= event < len(timeline.events) for event in note.events)


def test_every_rule_has_a_recording():
    assert {rule for _, rule, _ in FOUND} == set(RULES)


@pytest.mark.parametrize("recording", sorted(QUIET))
def test_an_undisturbed_conversation_has_only_harmless_explanations(recording):
    assert {note.rule for note in load(recording).notes} <= HARMLESS


def test_a_lost_frame_is_blamed_only_where_one_was_lost():
    for path in RECORDINGS:
        timeline = load(path.stem)
        blamed = any("lost on the wire" in note.text for note in timeline.notes)
        lost = any(getattr(event, "effect", "") == "lost" for event in timeline.events)
        assert lost or not blamed, path.stem
