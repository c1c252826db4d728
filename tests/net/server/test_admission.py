"""Admission: a limit for all connections, and one for each source."""

from stretta.net.server.admission import DEFAULT_PER_SOURCE, Admission


def test_connections_above_the_limit_are_refused_and_count():
    admission = Admission(2, None)
    assert admission.enter("192.0.2.1") is None
    assert admission.enter("192.0.2.2") is None
    assert admission.enter("192.0.2.3") == "2 connections are open already"
    admission.leave("192.0.2.1")
    assert admission.enter("192.0.2.4") is not None  # the refused one has not ended yet
    admission.leave("192.0.2.3")
    admission.leave("192.0.2.4")
    assert admission.enter("192.0.2.1") is None


def test_a_source_has_a_limit_of_its_own():
    admission = Admission(100, 2)
    for _ in range(2):
        assert admission.enter("192.0.2.1") is None
    refused = "2 connections from its address are open already"
    assert admission.enter("192.0.2.1") == refused
    assert admission.enter("192.0.2.2") is None
    admission.leave("192.0.2.1")
    assert admission.enter("192.0.2.1") == refused
    admission.leave("192.0.2.1")
    admission.leave("192.0.2.1")
    assert admission.enter("192.0.2.1") is None


def test_a_source_of_ipv6_is_a_network():
    admission = Admission(100, 2)
    assert admission.enter("2001:db8::1") is None
    assert admission.enter("2001:db8::2:3") is None
    assert admission.enter("2001:db8:0:1::1") is None
    assert admission.enter("2001:db8::4") is not None
    for address in ("2001:db8::1", "2001:db8::2:3"):
        admission.leave(address)
    assert admission.enter("2001:db8::5") is None


def test_the_prefix_of_a_network_is_an_option():
    for prefix, same in ((128, False), (56, True), (48, True)):
        admission = Admission(100, 1, prefix)
        assert admission.enter("2001:db8:0:aa01::1") is None
        assert (admission.enter("2001:db8:0:aa02::1") is not None) is same


def test_loopback_has_a_limit_only_where_one_is_given():
    assert DEFAULT_PER_SOURCE == 256
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        default, given = Admission(10_000, None), Admission(10_000, 1)
        assert not [n for n in range(300) if default.enter(address)]
        assert [given.enter(address) is None for _ in range(2)] == [True, False]
    default = Admission(10_000, None)
    first = next(n for n in range(300) if default.enter("192.0.2.1"))
    assert first == DEFAULT_PER_SOURCE


def test_sources_that_have_left_take_no_memory():
    admission = Admission(100, 2)
    for number in range(1000):
        admission.enter(f"192.0.2.{number % 256}")
        admission.leave(f"192.0.2.{number % 256}")
    assert not admission._sources
