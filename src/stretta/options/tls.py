"""How a stream is protected."""

from __future__ import annotations

from dataclasses import dataclass

from stretta.options.declare import option
from stretta.options.trust import ClientTrust

__all__ = ["ClientTls", "ServerTls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """How a server protects its connections; with ``tls`` alone it makes its own certificate."""

    tls: bool = option(
        default=False,
        words="speak TLS, with a certificate of your own making unless --tls-cert is given",
    )
    tls_cert: str | None = option(
        None, "certificate, with what its authority sent along (PEM)", unit="file", kind=str
    )
    tls_key: str | None = option(
        None,
        "private key of --tls-cert, unless it is in the same file (PEM)",
        unit="file",
        kind=str,
    )
    tls_handshake_timeout: float = option(
        10.0, "time in which the TLS handshake must be done", unit="seconds"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls(ClientTrust):
    """How a client protects its connection, and whom it trusts."""

    tls: bool = option(default=False, words="speak TLS")
