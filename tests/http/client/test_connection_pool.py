"""The connection pool: which idle connection is used next, and which one is closed."""

from hypothesis import given
from hypothesis import strategies as st

from stretta.http.client.connection_pool import ConnectionPool, pool_key
from stretta.http.message.url import parse_url

A, B, C = (("a",), ("b",), ("c",))


def test_the_connection_used_last_is_taken_first():
    pool = ConnectionPool()
    assert [pool.put(A, one) for one in (1, 2, 3)] == [None] * 3
    assert [pool.take(A) for _ in range(4)] == [3, 2, 1, None]
    assert len(pool) == 0


def test_connections_of_another_key_are_not_taken():
    pool = ConnectionPool()
    pool.put(A, 1)
    assert pool.take(B) is None
    assert pool.take(A) == 1


def test_too_many_connections_of_one_key_close_its_oldest():
    pool = ConnectionPool(max_idle=10, max_idle_per_key=2)
    assert [pool.put(A, one) for one in (1, 2, 3, 4)] == [None, None, 1, 2]
    assert len(pool) == 2
    assert [pool.take(A) for _ in range(3)] == [4, 3, None]


def test_too_many_connections_close_the_oldest_of_the_key_used_least_recently():
    pool = ConnectionPool(max_idle=3, max_idle_per_key=3)
    pool.put(A, 1)
    pool.put(B, 2)
    pool.put(A, 3)
    assert pool.put(C, 4) == 2
    assert len(pool) == 3
    assert pool.put(C, 5) == 1
    assert [pool.take(A), pool.take(A), pool.take(B)] == [3, None, None]
    assert len(pool) == 2


def test_clear_returns_every_connection_once():
    pool = ConnectionPool()
    for key, one in ((A, 1), (B, 2), (A, 3)):
        pool.put(key, one)
    assert sorted(pool.clear()) == [1, 2, 3]
    assert pool.clear() == []
    assert (len(pool), pool.take(A)) == (0, None)
    assert pool.put(A, 4) is None
    assert len(pool) == 1


def test_the_default_limits_are_kept():
    pool = ConnectionPool()
    assert [pool.put(A, one) for one in range(33)] == [None] * 32 + [0]
    assert [pool.put((str(one),), one) for one in range(69)] == [None] * 68 + [1]


@given(st.lists(st.tuples(st.sampled_from("pt"), st.integers(0, 5))), st.integers(1, 4))
def test_no_connection_is_lost_or_given_twice(steps, limit):
    pool = ConnectionPool(max_idle=limit, max_idle_per_key=2)
    inside, number = {}, 0
    for step, key in steps:
        if step == "p":
            number += 1
            closed = pool.put((key,), number)
            inside[number] = key
            if closed is not None:
                del inside[closed]
        else:
            taken = pool.take((key,))
            assert (taken is not None) == (key in inside.values())
            if taken is not None:
                assert inside.pop(taken) == key
        assert len(pool) == len(inside) <= limit
    assert sorted(pool.clear()) == sorted(inside)


def test_a_key_names_the_server_and_the_proxy_that_lead_to_it():
    http, https = parse_url("http://u:p@a/x#y"), parse_url("https://a/x")
    proxy = parse_url("http://p:8")
    assert pool_key(http, None) == (("http", "a", 80),)
    assert pool_key(https, None) == (("https", "a", 443),)
    assert pool_key(http, proxy) == pool_key(parse_url("http://b/"), proxy) == (proxy.origin,)
    assert pool_key(https, proxy) == (proxy.origin, https.origin)
