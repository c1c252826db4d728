from conversation import FLOW, HOSTS
from stretta.see.events import Endpoint, Flow
from stretta.see.strace_events import read_strace
from stretta.see.strace_parser import parse_lines, sockaddr, split_arguments, unescape

TUPLE = "TCP:[10.0.0.1:40000->10.0.0.2:12000]"


def on_client(text):
    return read_strace(text, HOSTS[0], HOSTS)


def on_server(text):
    return read_strace(text, HOSTS[1], HOSTS)


def calls(*lines):
    return on_client("\n".join(f"7 {n + 1}.000000000 {line}" for n, line in enumerate(lines)))


def test_a_client():
    seen = calls(
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3<TCP:[99]> <0.000010000>",
        'connect(3<TCP:[99]>, {sa_family=AF_INET, sin_port=htons(12000), sin_addr=inet_addr("10.0.0.2")}, 16) = 0 <0.020000000>',
        f'sendto(3<{TUPLE}>, "perch\\303\\251\\0\\"", 8, 0, NULL, 0) = 8 <0.000040000>',
        f'recvfrom(3<{TUPLE}>, "PERCH"..., 1024, 0, NULL, NULL) = 8 <0.000040000>',
        f"close(3<{TUPLE}>) = 0 <0.000020000>",
    ).calls
    assert [c.name for c in seen] == ["socket", "connect", "send", "recv", "close"]
    assert {c.flow for c in seen} == {FLOW}
    send = seen[2]
    assert (send.direction, send.transferred, send.requested, send.data) == (
        "out",
        8,
        8,
        'perché\0"'.encode(),
    )
    assert send.display == 'send(3, "perché\\x00"", 8)'
    assert seen[1].duration == 20_000_000
    assert seen[1].display == "connect(3, 10.0.0.2:12000)"


def test_calls_that_go_on_while_another_thread_calls():
    text = (
        "7 1.000000000 accept4(3<TCP:[0.0.0.0:12000]>,  <unfinished ...>\n"
        "8 1.100000000 getpid() = 8 <0.000001000>\n"
        '7 1.500000000 <... accept4 resumed>{sa_family=AF_INET, sin_port=htons(40000), sin_addr=inet_addr("10.0.0.1")}, [16], 0)'
        " = 4<TCP:[10.0.0.2:12000->10.0.0.1:40000]> <0.499000000>\n"
        "7 1.600000000 recvfrom(4<TCP:[10.0.0.2:12000->10.0.0.1:40000]>,  <unfinished ...>\n"
    )
    accept, receive = on_server(text).calls
    assert (accept.name, accept.result, accept.duration, accept.flow) == (
        "accept",
        4,
        499_000_000,
        FLOW,
    )
    assert (receive.end, receive.result, receive.flow) == (None, None, FLOW)


def test_threads_share_descriptors_and_children_have_their_own():
    text = (
        "7 1.000000000 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}, 88) = 8 <0.000010000>\n"
        f"8 2.000000000 socket(AF_INET, SOCK_STREAM, 0) = 3<{TUPLE}> <0.000010000>\n"
        "7 3.000000000 fork() = 9 <0.000010000>\n"
        "7 4.000000000 close(3<TCP:[5]>) = 0 <0.000010000>\n"
        '9 5.000000000 write(3<TCP:[5]>, "a", 1) = 1 <0.000010000>\n'
        "9 6.000000000 close(3<TCP:[5]>) = 0 <0.000010000>\n"
    )
    seen = on_client(text).calls
    assert [c.flow for c in seen] == [FLOW] * 4
    assert [c.shared for c in seen if c.name == "close"] == [True, False]
    assert {c.process for c in seen} == {7, 9}


def test_a_duplicate_means_the_same_socket_and_a_number_used_again_another():
    seen = calls(
        f"dup2(3<{TUPLE}>, 5) = 5<{TUPLE}> <0.000010000>",
        'write(5<TCP:[1]>, "a", 1) = 1 <0.000010000>',
        "close(5<TCP:[1]>) = 0 <0.000010000>",
        'read(5</etc/hosts>, "x", 1) = 1 <0.000010000>',
    ).calls
    assert [(c.name, c.flow) for c in seen if c.name != "dup2"] == [
        ("write", FLOW),
        ("close", FLOW),
    ]


def test_datagrams_and_many_at_once():
    peer = '{sa_family=AF_INET, sin_port=htons(40000), sin_addr=inet_addr("10.0.0.1")}'
    message = '{msg_hdr={msg_name=%s, msg_namelen=16, msg_iov=[{iov_base="%s", iov_len=2048}], msg_iovlen=1, msg_controllen=0, msg_flags=0}, msg_len=%d}'
    text = (
        f"7 1.000000000 recvmmsg(3<UDP:[0.0.0.0:12000]>, [{message % (peer, 'ab', 2)}, {message % (peer, 'cde', 3)}], 64, 0, NULL) = 2 <0.000010000>\n"
        f'7 2.000000000 sendto(3<UDP:[0.0.0.0:12000]>, "AB", 2, 0, {peer}, 16) = 2 <0.000010000>\n'
    )
    one, two, sent = on_server(text).calls
    flow = Flow("udp", Endpoint("client", "10.0.0.1", 40000), Endpoint("server", "10.0.0.2", 12000))
    assert [(c.transferred, c.data, c.flow) for c in (one, two, sent)] == [
        (2, b"ab", flow), (3, b"cde", flow), (2, b"AB", flow),
    ]  # fmt: skip
    assert two.display.endswith("2 of 2")


def test_epoll_tells_which_connection_was_ready():
    seen = calls(
        f"epoll_ctl(9<anon_inode:[eventpoll]>, EPOLL_CTL_ADD, 3<{TUPLE}>, {{events=EPOLLIN, data={{u32=77, u64=77}}}}) = 0 <0.000010000>",
        "epoll_wait(9<anon_inode:[eventpoll]>, [{events=EPOLLIN, data={u32=77, u64=77}}], 64, -1) = 1 <0.500000000>",
        f"poll([{{fd=3<{TUPLE}>, events=POLLIN}}], 1, -1) = 1 ([{{fd=3, revents=POLLIN}}]) <0.100000000>",
    ).calls
    assert [c.ready for c in seen] == [(FLOW,), (FLOW,)]


def test_sendfile_errors_ipv6_and_exits():
    six = "TCPv6:[[fd00::1]:40000->[fd00::2]:12000]"
    seen = calls(
        f"sendfile(3<{TUPLE}>, 6</srv/file>, [0] => [5], 100) = 5 <0.000010000>",
        f'write(4<{six}>, "a", 1) = -1 EPIPE (Broken pipe) <0.000010000>',
        "--- SIGPIPE {si_signo=SIGPIPE, si_code=SI_USER, si_pid=7, si_uid=0} ---",
        "+++ killed by SIGPIPE +++",
    )
    first, second = seen.calls
    assert (first.direction, first.transferred, first.requested) == ("out", 5, 100)
    assert (second.error, str(second.flow.responder)) == ("EPIPE", "[fd00::2]:12000")
    assert [p.status for p in seen.processes] == [-13]


def test_loopback_calls_have_no_conversation():
    (call,) = calls('write(3<TCP:[127.0.0.1:4->127.0.0.1:5]>, "a", 1) = 1 <0.000010000>').calls
    assert call.flow is None


def test_lines_that_are_not_calls_are_left_out():
    assert not list(parse_lines("strace: Process 7 attached\n\n7 1.0 x\n7 1.000000000 what?\n"))


def test_parts():
    assert split_arguments('3<a>, {x=1, y="},"}, [1, 2]') == ["3<a>", '{x=1, y="},"}', "[1, 2]"]
    assert unescape(r"\33\t\"\\") == b'\x1b\t"\\'
    mapped = 'sin6_port=htons(5), sin6_flowinfo=0, inet_pton(AF_INET6, "::ffff:10.0.0.2", &a)'
    assert sockaddr(mapped) == ("10.0.0.2", 5)
    assert sockaddr("NULL") is None
