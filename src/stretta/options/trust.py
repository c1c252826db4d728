"""Whom a client trusts."""

from __future__ import annotations

from dataclasses import dataclass

from stretta.options.declare import option

__all__ = ["ClientTrust"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTrust:
    """Whom a client trusts to be the server."""

    tls_ca: str | None = option(
        None,
        "authority to trust beside the system's (PEM file, or folder of them)",
        unit="file",
        kind=str,
    )
    insecure: bool = option(
        default=False, words="take any certificate: whoever sits in between can read and change all"
    )
