"""Services of one's own, for ``stretta tcp|udp|http server --service services:NAME``."""

import asyncio


def count(request: bytes) -> bytes:
    """Answer how many bytes came; with ``--framing line``, for each line."""
    return b"%d" % len(request)


async def slowly(request: bytes) -> bytes:
    """Answer after a second, which other clients do not notice."""
    await asyncio.sleep(1)
    return request.upper()
