"""The compression cache: bounded in bytes and in age."""

from stretta.http.server.files.compression_cache import CompressionCache
from stretta.http.server.files.file_version import FileVersion

ONE, TWO, THREE = (FileVersion(1, inode, 10, 0, 0) for inode in (1, 2, 3))


def test_a_body_is_found_by_version_and_coding():
    cache = CompressionCache()
    cache.add(ONE, "gzip", b"one", 0)
    assert cache.get(ONE, "gzip", 0) == b"one"
    assert cache.get(ONE, "br", 0) is None
    assert cache.get(ONE._replace(modified=1), "gzip", 0) is None


def test_the_least_recently_used_bodies_are_dropped():
    cache = CompressionCache(max_bytes=10)
    cache.add(ONE, "gzip", b"12345", 0)
    cache.add(TWO, "gzip", b"12345", 0)
    assert cache.size == 10
    assert cache.get(ONE, "gzip", 0)
    cache.add(THREE, "gzip", b"1", 0)
    assert cache.get(TWO, "gzip", 0) is None
    assert cache.get(ONE, "gzip", 0)
    assert cache.get(THREE, "gzip", 0)
    assert cache.size == 6


def test_a_body_that_is_too_large_is_not_kept():
    cache = CompressionCache(max_bytes=10)
    cache.add(ONE, "gzip", b"x" * 11, 0)
    assert (cache.get(ONE, "gzip", 0), cache.size) == (None, 0)


def test_the_same_body_counts_once():
    cache = CompressionCache()
    cache.add(ONE, "gzip", b"12345", 0)
    cache.add(ONE, "gzip", b"12345", 0)
    assert cache.size == 5


def test_idle_bodies_are_dropped():
    cache = CompressionCache(max_idle=60)
    cache.add(ONE, "gzip", b"one", 0)
    cache.add(TWO, "gzip", b"two", 0)
    cache.drop_idle(59.9)
    assert cache.get(ONE, "gzip", 50) == b"one"
    cache.drop_idle(60)
    assert cache.get(TWO, "gzip", 60) is None
    assert cache.size == 3
    cache.drop_idle(110)
    assert (cache.get(ONE, "gzip", 110), cache.size) == (None, 0)


def test_the_defaults():
    cache = CompressionCache()
    cache.add(ONE, "gzip", bytes(32 << 20), 0)
    cache.drop_idle(179)
    assert cache.size == 32 << 20
    cache.drop_idle(180)
    assert cache.size == 0
