"""The certificates that a client trusts."""

from __future__ import annotations

from stretta.options.declare import Options, option

__all__ = ["ClientTrust"]


class ClientTrust(Options):
    """The certificates that a client trusts."""

    group = "TLS"

    tls_ca: str | None = option(
        None,
        "authority to trust as well as the system's (PEM file, or folder of them)",
        unit="file",
        kind=str,
    )
    insecure: bool = option(
        default=False,
        words="accept any certificate: whoever controls the network can read and change everything",
    )
