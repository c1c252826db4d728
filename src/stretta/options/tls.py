"""TLS for servers and for the TCP client."""

from __future__ import annotations

from stretta.options.declare import Options, option
from stretta.options.trust import ClientTrust

__all__ = ["ClientTls", "ServerTls"]


class ServerTls(Options):
    """The TLS of a server; with ``tls`` alone it makes its own certificate."""

    group = "TLS"

    tls: bool = option(
        default=False,
        words="use TLS, with a certificate made by this server unless --tls-cert is given",
        variable="STRETTA_SERVER_TLS", common=True,
    )  # fmt: skip
    tls_cert: str | None = option(
        None, "certificate, followed by its authority's (PEM)", unit="file", kind=str
    )
    tls_key: str | None = option(
        None,
        "private key of --tls-cert, unless it is in the same file (PEM)",
        unit="file",
        kind=str,
    )
    tls_handshake_timeout: float = option(
        10.0, "longest time for the TLS handshake", unit="seconds"
    )


class ClientTls(ClientTrust):
    """The TLS of a client, and the certificates that it trusts."""

    tls: bool = option(default=False, words="use TLS", variable="STRETTA_CLIENT_TLS", common=True)
