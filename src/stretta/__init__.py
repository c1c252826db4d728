"""Stretta: network conversations over TCP, UDP and HTTP, both ends.

The command is ``stretta``; the library is three modules of the same names::

    from stretta import http, tcp, udp

    reply = tcp.ask(b"ciao")
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
