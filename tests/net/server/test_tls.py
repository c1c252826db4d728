"""TLS of the TCP and HTTP servers, on real sockets and byte by byte."""

import asyncio
import os
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from stretta import http, tcp
from stretta.errors import NetworkError, TimedOut, UsageError
from stretta.http.server.connection import HttpConnection
from stretta.net.server.dev_ca import own_certificate
from stretta.net.server.server_tls import ServerCertificate
from stretta.net.server.tls_stream import TlsStream
from stretta.net.tls import client_context, trusts_local_authority
from stretta.options import ClientTls, HttpLimits, ServerTls, StreamPatience
from support import PATIENCE, Running, naive_tcp_server, serving, until

ALERT = 0x15
PROTOCOL_VERSION, HANDSHAKE_FAILURE, UNEXPECTED, OVERFLOW = 70, 40, 10, 22


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    """A folder with a certificate and key for localhost, and the authority's certificate."""
    folder = tmp_path_factory.mktemp("tls")
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder


@pytest.fixture(scope="module")
def ours(files):
    return ServerTls(tls_cert=str(files / "server.pem"))


@pytest.fixture(scope="module")
def server(ours):
    with serving(tcp.serve(tls=ours)) as running:
        yield running


@pytest.fixture
def trusting(files):
    return ClientTls(tls_ca=str(files / "ca.pem"))


def dial(server):
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


def receive_all(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def a_client(lowest, highest, ciphers="ALL"):
    """Return a client's TLS object of any version, and its two BIOs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old versions are deprecated
        context.minimum_version, context.maximum_version = lowest, highest
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
    return context.wrap_bio(inbox, outbox, server_hostname="localhost"), inbox, outbox


def hello(*versions, **options):
    tls, _, outbox = a_client(*versions, **options)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outbox.read()


V = ssl.TLSVersion


@pytest.mark.parametrize(
    ("make", "description"),
    [
        (lambda: hello(V.TLSv1, V.TLSv1), PROTOCOL_VERSION),
        (lambda: hello(V.TLSv1_1, V.TLSv1_1), PROTOCOL_VERSION),
        (lambda: hello(V.TLSv1_2, V.TLSv1_2, ciphers="AES128-SHA"), HANDSHAKE_FAILURE),
        (lambda: hello(V.TLSv1_2, V.TLSv1_2, ciphers="ECDHE+AES+SHA256"), HANDSHAKE_FAILURE),
        (lambda: b"\x16\x03\x01\x00\x04\x63\x00\x00\x00", UNEXPECTED),
        (lambda: b"\x16\x03\x01\xff\xff" + b"x" * 200, OVERFLOW),
    ],
)
def test_a_client_that_cannot_be_served_gets_the_right_alert(server, make, description):
    with dial(server) as sock:
        sock.sendall(make())
        reply = receive_all(sock)
    assert (reply[0], reply[-2:]) == (ALERT, bytes([2, description]))


class Wire(asyncio.Transport):
    """A transport without a network: it keeps the written bytes."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written, self.paused = b"", False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return False

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def abort(self):
        pass


class Recorder(asyncio.Protocol):
    """A connection that records its data, and None for each on_late_data()."""

    def __init__(self):
        self.data = []

    def data_received(self, data):
        self.data.append(bytes(data))

    def on_secured(self):
        pass

    def on_late_data(self):
        self.data.append(None)


class InHand:
    """Both ends of TLS without a network: the test delivers each byte."""

    def __init__(self, context, inner, version=V.TLSv1_3, **options):
        self.wire = Wire()
        self.stream = TlsStream(context, inner)
        self.stream.connection_made(self.wire)
        self.tls, self.inbox, self.outbox = a_client(version, version, **options)

    def almost_shake_hands(self):
        """Run the handshake up to the client's last bytes, and return those."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.stream.data_received(self.outbox.read())
                self.inbox.write(self.wire.written)
                self.wire.written = b""
            else:
                return self.outbox.read()

    def shake_hands(self):
        if last := self.almost_shake_hands():  # in version 1.2 the server sends last
            self.stream.data_received(last)

    def record(self, data):
        self.tls.write(data)
        return self.outbox.read()

    def replies(self):
        self.inbox.write(self.wire.written)
        self.wire.written = b""
        data = b""
        with suppress(ssl.SSLWantReadError):
            while piece := self.tls.read(65536):
                data += piece
        return data


@pytest.fixture(scope="module")
def context(files):
    return ServerCertificate(str(files / "server.pem"), None, [], []).context


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("size", [1, 7, 100, 16_384, 16_405, 16_406, 16_420, 1_000_000])
def test_records_can_be_cut_anywhere(context, version, size):
    recorder = Recorder()
    ends = InHand(context, recorder, version)
    messages = [b"one", b"x" * 16_384, b"two", bytes(100), b"y" * 16_384]
    came = ends.almost_shake_hands() + b"".join(map(ends.record, messages))
    for start in range(0, len(came), size):
        ends.stream.data_received(came[start : start + size])
    assert b"".join(filter(None, recorder.data)) == b"".join(messages)


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
def test_a_message_in_one_record_is_delivered_in_one_piece(context, version):
    recorder = Recorder()
    ends = InHand(context, recorder, version)
    ends.shake_hands()
    messages = [b"x", b"y" * 600, b"z" * 16_384]
    for message in messages:
        ends.stream.data_received(ends.record(message))
    assert recorder.data == messages


def test_data_received_during_a_pause_is_delivered_after_it(context):
    async def main():
        recorder = Recorder()
        ends = InHand(context, recorder)
        ends.shake_hands()
        ends.stream.pause_reading()
        large = b"x" * 16_384
        ends.stream.data_received(ends.record(large) + ends.record(b"two"))
        assert not recorder.data
        ends.stream.resume_reading()
        await asyncio.sleep(0)
        assert recorder.data == [None, large, None, b"two", None]

    asyncio.run(main())


def test_a_burst_of_small_records_gets_its_share_of_an_iteration(context):
    async def main():
        recorder = Recorder()
        ends = InHand(context, recorder)
        ends.shake_hands()
        ends.stream.data_received(b"".join(ends.record(b"%d" % n) for n in range(200)))
        shares = []
        while len(given := [each for each in recorder.data if each is not None]) < 200:
            shares.append(len(given))
            assert ends.wire.paused
            await asyncio.sleep(0)
        assert shares == [64, 128, 192] and given == [b"%d" % n for n in range(200)]
        assert not ends.wire.paused

    asyncio.run(main())


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
@pytest.mark.parametrize("ciphers", ["ECDHE+AESGCM", "ECDHE+CHACHA20"])
def test_data_that_may_be_younger_than_the_iteration_is_announced(context, version, ciphers):
    recorder = Recorder()
    ends = InHand(context, recorder, version, ciphers=ciphers)

    def given(*came):
        """Return the connection's record of these bytes, an iteration for each."""
        recorder.data.clear()
        for data in came:
            ends.stream.data_received(data)
        return recorder.data

    ends.shake_hands()
    assert given(ends.record(b"one"), ends.record(b"x" * 16_384)) == [b"one", b"x" * 16_384]
    two = ends.record(b"one") + ends.record(b"two")
    assert given(two) == [None, b"one", None, b"two"]
    assert given(ends.record(b"two")) == [b"two"]
    for cut in (9, -2):  # the first record may have begun long ago, the second not
        record = ends.record(b"one")
        came = given(record[:cut], record[cut:] + ends.record(b"two"))
        assert came == [None, b"one", None, b"two"]
    assert given(ends.record(b"three")) == [b"three"]


def test_data_behind_the_end_of_the_handshake_is_announced(context):
    recorder = Recorder()
    ends = InHand(context, recorder)
    ends.stream.data_received(ends.almost_shake_hands() + ends.record(b"one"))
    ends.stream.data_received(ends.record(b"two"))
    assert recorder.data == [None, b"one", b"two"]


def test_a_file_that_changes_within_an_iteration_is_served_as_it_was_when_requested(
    ours, tmp_path, monkeypatch
):
    monkeypatch.setattr("stretta.http.server.file_stamp.YOUNG", -10.0)
    path = tmp_path / "a"
    path.write_bytes(b"old")

    async def main():
        async with http.serve(tmp_path, tls=ours) as server:
            ends = InHand(server.certificate.context, HttpConnection(server))
            ends.shake_hands()
            ask = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
            for _ in range(3):
                ends.stream.data_received(ends.record(ask))
                assert ends.replies().endswith(b"\r\n\r\nold")
            # no iteration ends here: both arrive together, so the second may be younger
            path.write_bytes(b"new one")
            ends.stream.data_received(ends.record(ask) + ends.record(ask))
            assert ends.replies().count(b"\r\n\r\nnew one") == 2
            ends.stream.abort()
            ends.stream.connection_lost(None)

    asyncio.run(main())


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
def test_a_bad_record_gets_an_alert(server, version):
    tls, inbox, outbox = a_client(version, version)
    with dial(server) as sock:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(outbox.read())
                inbox.write(sock.recv(65536))
            else:
                break
        tls.write(b"ciao")
        record = bytearray(outbox.read())
        record[-1] ^= 1
        sock.sendall(record)
        inbox.write(receive_all(sock))
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            tls.read(100)


def test_a_conversation_with_half_close(server, trusting):
    message = "perché\n".encode() * 100_000
    assert tcp.ask(message, "localhost", server.port, tls=trusting) == message.upper().replace(
        "é".encode(), "É".encode()
    )
    with tcp.connect("127.0.0.1", server.port, tls=trusting) as conversation:
        conversation.send(b"uno\n")
        assert conversation.receive_until(b"\n") == b"UNO\n"


def test_the_async_client_speaks_it_too(server, trusting):
    asked = tcp.ask_async(b"ciao", "localhost", server.port, tls=trusting)
    assert asyncio.run(asked) == b"CIAO"


def test_a_certificate_that_is_not_trusted_gives_the_reason(server, authority, trusting, tmp_path):
    with pytest.raises(NetworkError, match="signed by an authority that is not trusted here"):
        tcp.ask(b"ciao", "localhost", server.port, tls=ClientTls(tls=True))
    path = tmp_path / "other.pem"
    authority.issue_cert("other.example").private_key_and_cert_chain_pem.write_to_path(path)
    with serving(tcp.serve(tls=ServerTls(tls_cert=str(path)))) as other:
        for host, why in (("localhost", "another name"), ("127.0.0.1", "another address")):
            with pytest.raises(NetworkError, match=why):
                tcp.ask(b"ciao", host, other.port, tls=trusting)


def test_insecure_accepts_any_certificate(server):
    assert tcp.ask(b"ciao", port=server.port, tls=ClientTls(insecure=True)) == b"CIAO"


def test_a_server_without_tls_says_so(tcp_upper_server):
    with pytest.raises(NetworkError, match="does not speak TLS"):
        tcp.ask(b"x", port=tcp_upper_server.port, tls=ClientTls(insecure=True))


def test_a_server_that_never_answers_the_handshake(trusting):
    gone = threading.Event()

    def silent(_):
        gone.wait(PATIENCE)

    patience = StreamPatience(connect_timeout=0.2)
    with naive_tcp_server(silent) as port:
        with pytest.raises(TimedOut, match=r"handshake took longer than 0\.2 s"):
            tcp.ask(b"x", port=port, patience=patience, tls=trusting)
        gone.set()


def test_stalled_handshakes_end_and_block_no_other(files, trusting):
    tls = ServerTls(tls_cert=str(files / "server.pem"), tls_handshake_timeout=0.4)
    with serving(http.serve(tls=tls, limits=HttpLimits(idle_timeout=1))) as server:
        for _ in range(30):  # a peer that resets at once must not stop the clock
            gone = dial(server)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.close()
        stalled = [dial(server) for _ in range(50)]
        try:
            for sock in stalled:
                sock.sendall(b"\x16\x03\x01")
            with (
                socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock,
                ssl.create_default_context(cafile=str(files / "ca.pem")).wrap_socket(
                    sock, server_hostname="localhost"
                ) as good,
            ):
                assert good.version() == "TLSv1.3"
                good.sendall(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
                assert good.recv(100).startswith(b"HTTP/1.1 404")
            until(lambda: server.counts["insecure"] == 50)
        finally:
            for sock in stalled:
                sock.close()


def test_the_limits_of_requests_do_not_count_during_the_handshake(files):
    tls = ServerTls(tls_cert=str(files / "server.pem"), tls_handshake_timeout=1.2)
    limits = HttpLimits(idle_timeout=0.1, header_timeout=0.1)
    reports = []
    with serving(http.serve(tls=tls, limits=limits, watch=reports.append)) as server:
        with dial(server) as sock:
            sock.sendall(b"\x16\x03\x01")
            assert sock.recv(1) == b""
        until(lambda: server.counts["insecure"] == 1)
        assert not server.counts["slow_head"] + server.counts["idle"]
    assert any("the TLS handshake took too long" in str(report) for report in reports)


def test_plain_http_on_the_port_of_https_gets_400(ours):
    with serving(http.serve(tls=ours)) as server, dial(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        reply = receive_all(sock)
        assert reply.startswith(b"HTTP/1.1 400 ")
        assert b"This port speaks HTTPS" in reply


def test_files_and_alpn_over_https(ours, files, tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "large").write_bytes(data)
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with serving(http.serve(tmp_path, tls=ours)) as server:
        assert server.urls == [f"https://127.0.0.1:{server.port}/"]
        with dial(server) as plain, context.wrap_socket(plain, server_hostname="localhost") as sock:
            assert sock.selected_alpn_protocol() == "http/1.1"
            sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert receive_all(sock).endswith(data)


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(authority, files, tmp_path):
    path = tmp_path / "server.pem"
    path.write_bytes((files / "server.pem").read_bytes())
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))

    def serial(port):
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            return sock.getpeercert()["serialNumber"]

    words = ("tcp", "server", "-a", "127.0.0.1", "--tls-cert", str(path), "--service", "echo")
    with Running(*words) as running:
        first = serial(running.port)
        with (
            socket.create_connection(("127.0.0.1", running.port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as kept,
        ):
            path.write_text("broken")
            running.process.send_signal(signal.SIGHUP)
            running.expect("Not reloaded, the old certificate stays: cannot use")
            assert serial(running.port) == first
            renewed = authority.issue_cert("localhost").private_key_and_cert_chain_pem
            renewed.write_to_path(path)
            running.process.send_signal(signal.SIGHUP)
            running.expect("Reloaded the certificate")
            assert serial(running.port) != first
            kept.sendall(b"still here")
            assert kept.recv(100) == b"still here"
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tls_cert": "missing.pem"}, r"the certificate in \S*missing.pem[^$]*no such file"),
        ({"tls_cert": "missing.pem", "tls_key": "key.pem"}, r"certificate in \S*missing.pem"),
        ({"tls_cert": "other.pem", "tls_key": "missing.pem"}, r"the key in \S*missing.pem"),
        ({"tls_cert": "broken.pem"}, "it holds no certificate in PEM form"),
        ({"tls_cert": "other.pem"}, "it holds no private key in PEM form"),
        ({"tls_cert": "other.pem", "tls_key": "broken.pem"}, "broken.pem holds no private key"),
        ({"tls_cert": "damaged.pem"}, "cannot use the certificate"),
        ({"tls_key": "key.pem"}, "belongs to a certificate"),
        ({"tls_cert": "other.pem", "tls_key": "key.pem"}, "cannot use the certificate"),
        ({"tls_cert": "locked.pem"}, "locked with a password"),
    ],
)
def test_files_that_cannot_be_used_are_a_usage_error(tmp_path, authority, options, why):
    (tmp_path / "broken.pem").write_text("nothing in here")
    (tmp_path / "damaged.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
        "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"
    )
    authority.issue_cert("a").private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.issue_cert("b").cert_chain_pems[0].write_to_path(tmp_path / "other.pem")
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    (tmp_path / "locked.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
        + (tmp_path / "other.pem").read_bytes()
    )
    given = {name: str(tmp_path / value) for name, value in options.items()}
    with pytest.raises(UsageError, match=why):
        tcp.serve(tls=ServerTls(**given))


class TestOwnAuthority:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        return tmp_path / "stretta"

    def test_it_is_made_once_and_its_keys_are_private(self, folder):
        leaf, ca = own_certificate(["localhost", "127.0.0.1"])
        before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
        assert set(before) == {"ca.pem", "ca.key", "lock", "server.pem"}
        assert own_certificate(["127.0.0.1"]) == (leaf, ca)
        assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before
        for name in before:
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600

    def test_another_name_needs_another_certificate_of_the_same_authority(self, folder):
        leaf, ca = own_certificate(["localhost"])
        first, authority = Path(leaf).read_bytes(), Path(ca).read_bytes()
        own_certificate(["localhost", "127.0.0.2"])
        assert Path(leaf).read_bytes() != first
        assert Path(ca).read_bytes() == authority

    def test_a_name_outside_the_constraints_needs_another_authority(self, folder):
        _, ca = own_certificate(["localhost"])
        authority = Path(ca).read_bytes()
        own_certificate(["localhost", "host.example", "192.0.2.7"])
        assert Path(ca).read_bytes() != authority

    def test_an_unconstrained_authority_of_an_early_version_is_replaced(self, folder):
        folder.mkdir()
        old = trustme.CA(organization_name="Stretta on this machine")
        old.cert_pem.write_to_path(folder / "ca.pem")
        old.private_key_pem.write_to_path(folder / "ca.key")
        own_certificate(["localhost"])
        assert (folder / "ca.pem").read_bytes() != old.cert_pem.bytes()

    def test_it_can_sign_for_this_machine_only(self, folder):
        leaf, ca = own_certificate(["localhost", "127.0.0.1"])
        authority = x509.load_pem_x509_certificate(Path(ca).read_bytes())
        certificate = x509.load_pem_x509_certificate(Path(leaf).read_bytes())
        of_authority, of_leaf = (
            {found.oid: found for found in each.extensions} for each in (authority, certificate)
        )
        basic = of_authority[x509.OID_BASIC_CONSTRAINTS]
        assert basic.critical and (basic.value.ca, basic.value.path_length) == (True, 0)
        constraints = of_authority[x509.OID_NAME_CONSTRAINTS]
        permitted = {str(each.value) for each in constraints.value.permitted_subtrees}
        assert constraints.critical and permitted >= {"localhost", "127.0.0.0/8", "::1/128"}
        assert not [each for each in permitted if each in ("", ".", "0.0.0.0/0", "::/0")]
        usage = of_authority[x509.OID_KEY_USAGE].value
        assert usage.key_cert_sign and usage.crl_sign and not usage.digital_signature
        assert not of_leaf[x509.OID_BASIC_CONSTRAINTS].value.ca
        usage = of_leaf[x509.OID_KEY_USAGE].value
        assert usage.digital_signature and not usage.key_cert_sign
        assert list(of_leaf[x509.OID_EXTENDED_KEY_USAGE].value) == [ExtendedKeyUsageOID.SERVER_AUTH]
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime.days <= 825

    def test_first_starts_at_the_same_moment_agree_on_one_authority(self, folder):
        code = "from stretta.net.server.dev_ca import own_certificate as o; print(o(['localhost']))"
        starts = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
            for _ in range(4)
        ]
        assert [start.wait(PATIENCE) for start in starts] == [0] * 4
        authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        leaf = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
        leaf.verify_directly_issued_by(authority)

    def test_the_same_user_s_client_trusts_it(self, folder):
        with serving(tcp.serve(tls=ServerTls(tls=True))) as server:
            assert tcp.ask(b"ciao", "localhost", server.port, tls=ClientTls(tls=True)) == b"CIAO"
            reports = []
            tcp.connect(
                "localhost", server.port, tls=ClientTls(tls=True), watch=reports.append
            ).close()
            (said,) = [str(each) for each in reports if "own authority" in str(each)]
            assert said.endswith(str(folder / "ca.pem"))
            context = client_context()
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as sock:
                    assert trusts_local_authority(sock)

    def test_a_server_with_tls_alone_can_be_trusted_by_name(self, folder):
        with serving(tcp.serve(tls=ServerTls(tls=True))) as server:
            trusting = ClientTls(tls_ca=str(folder / "ca.pem"))
            assert tcp.ask(b"ciao", "localhost", server.port, tls=trusting) == b"CIAO"
