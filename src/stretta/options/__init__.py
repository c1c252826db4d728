"""Every option, declared once: its default, its bounds, its unit, its text.

A field of these dataclasses is the library's keyword, the command's flag, the environment variable
and the documentation's row (docs/options.md); its bounds hold for all of them. Each role has a
module of its own, so that a client loads no server's options.
"""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.options.client import (
        ClientEndpoint,
        DatagramPatience,
        Interaction,
        StreamPatience,
    )
    from stretta.options.console import ColourOptions, ConsoleOptions
    from stretta.options.endpoint import ServerEndpoint, WebEndpoint
    from stretta.options.http_client import (
        HttpClientLimits,
        HttpPatience,
        HttpRequestOptions,
        HttpResponseOptions,
        HttpRoute,
    )
    from stretta.options.lab import (
        DiagramOptions,
        LabOptions,
        ProgramOptions,
        RecordOptions,
        TraceOutput,
        WireOptions,
    )
    from stretta.options.server import ConnectionLimits, DatagramLimits, HttpLimits, StreamLimits
    from stretta.options.service import DatagramService, StreamService, WorkerOptions
    from stretta.options.site import SiteOptions, WebOptions
    from stretta.options.tls import ClientTls, ServerTls
    from stretta.options.trust import ClientTrust

__all__ = [
    "ClientEndpoint",
    "ClientTls",
    "ClientTrust",
    "ColourOptions",
    "ConnectionLimits",
    "ConsoleOptions",
    "DatagramLimits",
    "DatagramPatience",
    "DatagramService",
    "DiagramOptions",
    "HttpClientLimits",
    "HttpLimits",
    "HttpPatience",
    "HttpRequestOptions",
    "HttpResponseOptions",
    "HttpRoute",
    "Interaction",
    "LabOptions",
    "ProgramOptions",
    "RecordOptions",
    "ServerEndpoint",
    "ServerTls",
    "SiteOptions",
    "StreamLimits",
    "StreamPatience",
    "StreamService",
    "TraceOutput",
    "WebEndpoint",
    "WebOptions",
    "WireOptions",
    "WorkerOptions",
]

__getattr__ = lazy_names(
    __name__,
    {
        "ClientEndpoint": "client",
        "DatagramPatience": "client",
        "Interaction": "client",
        "StreamPatience": "client",
        "ColourOptions": "console",
        "ConsoleOptions": "console",
        "ServerEndpoint": "endpoint",
        "WebEndpoint": "endpoint",
        "HttpClientLimits": "http_client",
        "HttpPatience": "http_client",
        "HttpRoute": "http_client",
        "HttpRequestOptions": "http_client",
        "HttpResponseOptions": "http_client",
        "LabOptions": "lab",
        "DiagramOptions": "lab",
        "ProgramOptions": "lab",
        "RecordOptions": "lab",
        "TraceOutput": "lab",
        "WireOptions": "lab",
        "ConnectionLimits": "server",
        "DatagramLimits": "server",
        "HttpLimits": "server",
        "StreamLimits": "server",
        "DatagramService": "service",
        "StreamService": "service",
        "WorkerOptions": "service",
        "SiteOptions": "site",
        "WebOptions": "site",
        "ClientTls": "tls",
        "ServerTls": "tls",
        "ClientTrust": "trust",
    },
)
