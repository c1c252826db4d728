import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.address import ANY_PORT, Endpoint, PortError, parse_host, parse_port, source_of
from stretta.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("localhost", "localhost"),
        ("bücher.example", "bücher.example"),
    ],
)
def test_an_address_or_a_name_is_taken(text, host):
    assert parse_host(text) == host


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("http://localhost/", "URL"),
        ("127.0.0.1:9000", "-p 9000"),
        ("[::1]:9000", "-p 9000"),
        ("[127.0.0.1]", "brackets"),
        ("::12345", "not a valid IPv6 address"),
        (":::", "not a valid IPv6 address"),
        ("fe80::1%", "zone"),
        ("a b", "space"),
        ("a\nb", "space"),
        ("x" * 254, "253"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text, why):
    with pytest.raises(UsageError, match=why):
        parse_host(text)


@given(st.text())
def test_any_text_is_a_host_or_a_usage_error(text):
    try:
        host = parse_host(text)
    except UsageError:
        return
    assert host and host in text


@given(st.integers(0, 65535))
def test_every_port_is_taken_when_any_is_allowed(port):
    assert parse_port(str(port), ANY_PORT) == port


@given(st.text() | st.integers().map(str))
def test_a_port_is_in_range_or_refused_in_the_lecture_s_words(text):
    try:
        assert 1024 <= parse_port(text) <= 65535
    except PortError as error:
        assert error.what == "-p option must be an integer in 1024..65535"
        assert error.status == 2


@pytest.mark.parametrize(
    "text", ["0", "80", "1023", "65536", "abc", "", "-1", "+2000", "2_000", "٢٠٠٠"]
)
def test_other_ports_are_refused(text):
    with pytest.raises(PortError):
        parse_port(text)


@pytest.mark.parametrize(
    ("sockaddr", "shown", "authority"),
    [
        (("127.0.0.1", 80), "(127.0.0.1, 80)", "127.0.0.1:80"),
        (("::1", 80, 0, 0), "(::1, 80)", "[::1]:80"),
        (("::ffff:10.0.0.1", 80, 0, 0), "(10.0.0.1, 80)", "10.0.0.1:80"),
        (None, "(?, 0)", "?:0"),
    ],
)
def test_endpoints_are_shown_as_the_lecture_does(sockaddr, shown, authority):
    endpoint = Endpoint.from_sockaddr(sockaddr)
    assert str(endpoint) == shown
    assert endpoint.authority == authority


@pytest.mark.parametrize(
    ("address", "prefix", "source"),
    [
        ("192.0.2.7", 64, "192.0.2.7"),
        ("::ffff:192.0.2.7", 64, "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", 64, "2001:db8:1:3::/64"),
        ("2001:db8:1:2:3::", 48, "2001:db8:1::/48"),
        ("2001:db8::7", 128, "2001:db8::7/128"),
        ("fe80::1%eth0", 64, "fe80::/64%eth0"),
        ("?", 64, "?"),
        ("1::2::3", 64, "1::2::3"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network(address, prefix, source):
    assert source_of(address, prefix) == source


@given(st.ip_addresses(v=6), st.ip_addresses(v=6))
def test_two_ipv6_addresses_are_one_source_when_their_first_64_bits_are_equal(one, other):
    if one.ipv4_mapped or other.ipv4_mapped:
        return
    assert (source_of(str(one)) == source_of(str(other))) == (int(one) >> 64 == int(other) >> 64)


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("223.255.255.255", False), ("224.0.0.1", True), ("239.255.255.255", True),
        ("240.0.0.1", False), ("ff02::1", True), ("FF02::1%eth0", True), ("fe80::1", False),
        ("ff", False), ("?", False),
    ],
)  # fmt: skip
def test_a_multicast_address_is_known(host, group):
    assert Endpoint(host, 1).is_multicast == group
