"""TLS for clients: the authorities that they trust, and the meaning of errors.

Versions 1.2 and 1.3, and of 1.2 only suites with forward secrecy and authenticated encryption
(RFC 9325 section 4.2).
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from stretta.errors import NetworkError, StrettaError, UsageError

__all__ = [
    "AUTHORITY_NAME",
    "SUITES",
    "bad_file",
    "client_context",
    "data_folder",
    "notice_cuts",
    "tls_error",
    "trusts_local_authority",
    "was_cut",
]

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The cipher suites of TLS 1.2; those of TLS 1.3 are all authenticated."""


AUTHORITY_NAME = "Stretta on this machine"
"""The organization in the certificates of the local authority."""


def data_folder() -> Path:
    """Return the folder of the user's data."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "stretta"


def client_context(
    ca: str | None = None, *, insecure: bool = False, alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return a context that checks the server's certificate and name.

    It trusts the system's authorities, which ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` replace, the
    local authority of the same user (``stretta ... server --tls`` makes it), and those in ``ca``, a
    file (PEM) or folder. ``insecure`` turns all checks off. ``alpn`` lists the protocols to offer.
    Secrets are logged to ``SSLKEYLOGFILE``. Raises UsageError when ``ca`` cannot be used.
    """
    local = data_folder() / "ca.pem"
    try:
        found = local.stat()
        made = found.st_mtime_ns if found.st_uid == os.geteuid() else None
    except OSError:
        made = None
    return _client_context(ca, tuple(alpn), str(local), made, insecure=insecure)


@cache
def _client_context(
    ca: str | None, alpn: Sequence[str], local: str, made: int | None, *, insecure: bool
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    notice_cuts(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if made is not None:
        with suppress(OSError):  # damaged: then it is not trusted
            context.load_verify_locations(cafile=local)
    if ca is not None:
        try:
            context.load_verify_locations(
                cafile=None if os.path.isdir(ca) else ca, capath=ca if os.path.isdir(ca) else None
            )
        except OSError as error:
            raise bad_file("certificates to trust", ca, error) from error
    return context


def trusts_local_authority(tls: ssl.SSLObject) -> bool:
    """Return whether the local authority has signed the peer's certificate, which was verified."""
    issuer = (tls.getpeercert() or {}).get("issuer", ())
    return any(pair == ("organizationName", AUTHORITY_NAME) for part in issuer for pair in part)


def notice_cuts(context: ssl.SSLContext) -> None:
    """Distinguish an end without close_notify from one with it (RFC 8446 section 6.1).

    Early releases of Python 3.11 set the option that hides the difference.
    """
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)


def was_cut(error: ssl.SSLError) -> bool:
    """Return whether the connection ended without close_notify.

    Early releases of Python 3.11 have no exception class for it.
    """
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def bad_file(what: str, path: str, error: OSError) -> UsageError:
    """Return the error for a file of certificates or keys that cannot be read."""
    if isinstance(error, ssl.SSLError):
        why = "it holds no certificate in PEM form"
    else:
        why = os.strerror(error.errno or errno.EIO).lower()
    return UsageError(f"cannot read the {what} in {path}", why, "Give a PEM file.")


VERIFY_REASONS = {
    10: "it has expired",
    9: "it is not valid yet; is this machine's clock right?",
    18: "it is self-signed",
    19: "it is self-signed, and its authority is not trusted here",
    20: "it was signed by an authority that is not trusted here",
    21: "it was signed by an authority that is not trusted here",
    23: "it was revoked",
    62: "it is for another name",
    64: "it is for another address",
}
"""By OpenSSL's number of the failed check (x509_vfy.h)."""


REMEDIES = {
    9: "See this machine's clock with: date",
    10: "Only the server can have a new one; or is this machine's clock wrong? See: date",
    23: "Only the server can have a new one.",
    62: "Ask under the name that the certificate is for.",
    64: "Ask under the name that the certificate is for.",
}
"""Hints for failed checks that another authority would not change."""

NO_TLS = ("wrong version number", "packet length", "http request", "unexpected message")
"""OpenSSL's reasons for a reply that is not TLS."""


def tls_error(error: ssl.SSLError, host: str, port: int) -> StrettaError:
    """Return the client's error for a TLS connection that has failed."""
    what = f"no secure connection to {host} port {port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = VERIFY_REASONS.get(error.verify_code, error.verify_message.lower())
        hint = REMEDIES.get(
            error.verify_code, "If you know it, trust its authority: --tls-ca FILE."
        )
        return NetworkError(
            what,
            f"the server's certificate was refused: {why}",
            f"{hint} To go on unprotected: --insecure",
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if any(sign in reason for sign in NO_TLS):
        return NetworkError(
            what,
            "the server does not speak TLS there",
            "Try it without TLS; in a URL that is http://",
        )
    if was_cut(error):
        return NetworkError(
            what, "the server hung up during the handshake", "Does it speak TLS on this port?"
        )
    return NetworkError(what, f"the TLS handshake failed: {reason}", "To see more, add --debug")
