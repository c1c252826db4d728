"""Your own services, for ``stretta tcp|udp|http server --service services:NAME``."""

import asyncio


def count(request: bytes) -> bytes:
    """Return the number of bytes received; with ``--framing line``, of each line."""
    return b"%d" % len(request)


async def slowly(request: bytes) -> bytes:
    """Answer after a second; other clients do not wait."""
    await asyncio.sleep(1)
    return request.upper()
