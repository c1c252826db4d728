"""Every option, declared once: its default, its unit, its words.

A field of these dataclasses is the library's keyword, the command's flag, the environment variable
(``STRETTA_`` and the flag in capitals) and the documentation's row. Each role's are in a module of
their own, since making a frozen dataclass takes half a millisecond of a client's start.
"""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.options.client import DatagramPatience, StreamPatience
    from stretta.options.http_client import HttpClientLimits, HttpPatience, HttpRoute
    from stretta.options.lab import LabOptions, WireOptions
    from stretta.options.server import ConnectionLimits, DatagramLimits, HttpLimits, StreamLimits
    from stretta.options.site import SiteOptions
    from stretta.options.tls import ClientTls, ServerTls
    from stretta.options.trust import ClientTrust

__all__ = [
    "ClientTls",
    "ClientTrust",
    "ConnectionLimits",
    "DatagramLimits",
    "DatagramPatience",
    "HttpClientLimits",
    "HttpLimits",
    "HttpPatience",
    "HttpRoute",
    "LabOptions",
    "ServerTls",
    "SiteOptions",
    "StreamLimits",
    "StreamPatience",
    "WireOptions",
]

__getattr__ = lazy_names(
    __name__,
    {
        "StreamPatience": "client",
        "DatagramPatience": "client",
        "HttpPatience": "http_client",
        "HttpClientLimits": "http_client",
        "HttpRoute": "http_client",
        "ConnectionLimits": "server",
        "StreamLimits": "server",
        "HttpLimits": "server",
        "DatagramLimits": "server",
        "SiteOptions": "site",
        "ClientTls": "tls",
        "ClientTrust": "trust",
        "ServerTls": "tls",
        "WireOptions": "lab",
        "LabOptions": "lab",
    },
)
