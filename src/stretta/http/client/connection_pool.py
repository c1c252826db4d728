"""Idle connections, by the server and proxy that they lead to. Pure: the caller does the I/O."""

from __future__ import annotations

from typing import Generic, TypeVar

from stretta.http.message.url import Url

__all__ = ["ConnectionPool", "Key", "pool_key"]

C = TypeVar("C")

MAX_IDLE = 100
"""Idle connections that a pool keeps."""

MAX_IDLE_PER_KEY = 32
"""Idle connections to one server."""

Origin = tuple[str, str, int]
Key = tuple[Origin, ...]
"""The origins between which a connection is interchangeable: the proxy's, the server's, or both."""


def pool_key(url: Url, proxy: Url | None) -> Key:
    """Return the key of the connections that can carry a request for ``url``.

    A proxy forwards plain HTTP to any server; a tunnel through it leads to one server only.

    >>> from stretta.http.message.url import parse_url
    >>> proxy = parse_url("http://proxy:3128")
    >>> pool_key(parse_url("http://a/x"), proxy)
    (('http', 'proxy', 3128),)
    >>> pool_key(parse_url("https://a/x"), proxy)
    (('http', 'proxy', 3128), ('https', 'a', 443))
    """
    if proxy is None:
        return (url.origin,)
    return (proxy.origin,) if url.scheme == "http" else (proxy.origin, url.origin)


class ConnectionPool(Generic[C]):
    """Keeps idle connections and says which one to use next and which one to close.

    >>> pool = ConnectionPool()
    >>> pool.put(("a",), 1), pool.put(("a",), 2)
    (None, None)
    >>> pool.take(("a",)), pool.take(("b",)), len(pool)
    (2, None, 1)
    """

    def __init__(self, max_idle: int = MAX_IDLE, max_idle_per_key: int = MAX_IDLE_PER_KEY) -> None:
        self._max_idle = max_idle
        self._max_idle_per_key = max_idle_per_key
        self._idle: dict[Key, list[C]] = {}  # the key used least recently comes first
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def take(self, key: Key) -> C | None:
        """Remove and return the most recently used connection of a key, None if there is none.

        The caller checks that the peer has not closed it.
        """
        connections = self._idle.get(key)
        if not connections:
            return None
        self._size -= 1
        connection = connections.pop()
        if not connections:
            del self._idle[key]
        return connection

    def put(self, key: Key, connection: C) -> C | None:
        """Keep an idle connection; return the one that has to be closed instead, None if none."""
        connections = self._idle.pop(key, [])
        self._idle[key] = connections
        connections.append(connection)
        self._size += 1
        if len(connections) > self._max_idle_per_key:
            return self._evict(key)
        if self._size > self._max_idle:
            return self._evict(next(iter(self._idle)))
        return None

    def clear(self) -> list[C]:
        """Remove all connections and return them; the caller closes them."""
        connections = [one for some in self._idle.values() for one in some]
        self._idle.clear()
        self._size = 0
        return connections

    def _evict(self, key: Key) -> C:
        """Remove and return the oldest connection of a key."""
        connections = self._idle[key]
        oldest = connections.pop(0)
        self._size -= 1
        if not connections:
            del self._idle[key]
        return oldest
