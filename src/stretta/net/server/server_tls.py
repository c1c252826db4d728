"""A server's TLS context: its certificate and key, which can be reloaded while it serves."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from stretta.errors import UsageError
from stretta.net.interfaces import reachable
from stretta.net.server.dev_ca import own_certificate
from stretta.net.tls import SUITES, bad_file, notice_cuts
from stretta.options import ServerTls

__all__ = ["ServerCertificate"]


class ServerCertificate:
    """A server's certificate and key in an SSL context, which ``load()`` renews.

    ``ca_file`` is the file of the development authority if that has signed the certificate; a
    client that trusts it accepts the certificate.
    """

    def __init__(
        self, cert: str | None, key: str | None, names: Sequence[str], alpn: Sequence[str]
    ) -> None:
        self._cert, self._key, self._names = cert, key, names
        self._alpn = list(alpn)
        self.handshake_timeout = 10.0
        self.ca_file: str | None = None
        self.context = self._new_context()
        self.load()

    @classmethod
    def from_options(
        cls, options: ServerTls, host: str, alpn: Sequence[str]
    ) -> ServerCertificate | None:
        """Return the certificate that the options name, or None when they turn TLS off.

        ``host`` is the address to listen on. Raises UsageError.
        """
        if options.tls_key is not None and options.tls_cert is None:
            raise UsageError("--tls-key belongs to a certificate", hint="Give --tls-cert too.")
        if not (options.tls or options.tls_cert):
            return None
        names = [] if options.tls_cert else ["localhost", *reachable(host), socket.gethostname()]
        certificate = cls(options.tls_cert, options.tls_key, names, alpn)
        certificate.handshake_timeout = options.tls_handshake_timeout
        return certificate

    def load(self) -> None:
        """Read the certificate and the key from their files.

        Raises UsageError when they cannot be used; the previous ones then stay in use.
        """
        cert = self._cert
        if cert is None:
            cert, self.ca_file = own_certificate(self._names)
        self._load_into(self._new_context(), cert)  # a bad file must not spoil the context in use
        self._load_into(self.context, cert)

    def _load_into(self, context: ssl.SSLContext, cert: str) -> None:
        try:
            contents = {path: Path(path).read_bytes() for path in (cert, self._key or cert)}
            context.load_cert_chain(cert, self._key, password=_no_password)
        except ssl.SSLError as error:
            raise UsageError(
                f"cannot use the certificate in {cert}",
                _ssl_reason(contents, cert, self._key or cert, error),
                "Give PEM files of a certificate and its own key: --tls-cert FILE --tls-key FILE",
            ) from error
        except OSError as error:
            what = "certificate" if error.filename == cert else "key"
            raise bad_file(what, str(error.filename or cert), error) from error

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(SUITES)
        notice_cuts(context)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        # a ticket takes a twentieth of the handshake's time; a resumed session gets a new one
        context.num_tickets = 1
        if self._alpn:
            context.set_alpn_protocols(self._alpn)
        keylog = os.environ.get("SSLKEYLOGFILE")
        if keylog:
            context.keylog_filename = keylog
        return context


def _ssl_reason(contents: dict[str, bytes], cert: str, key: str, error: ssl.SSLError) -> str:
    """Return in plain words why OpenSSL refuses the contents of the two files."""
    if b"-----BEGIN CERTIFICATE-----" not in contents[cert]:
        return "it holds no certificate in PEM form"
    if b"PRIVATE KEY-----" not in contents[key]:
        where = "it" if key == cert else key
        return f"{where} holds no private key in PEM form"
    if not error.reason:
        return "its content is damaged"
    return error.reason.replace("_", " ").lower()


def _no_password() -> str:
    raise UsageError(
        "the private key is locked with a password",
        "a server cannot ask for it",
        "Unlock it first: openssl pkey -in KEY -out UNLOCKED",
    )
