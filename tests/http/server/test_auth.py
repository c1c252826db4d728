"""Credentials, the limit of guesses, and who is checked first while many sources guess."""

import asyncio
import base64
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stretta.errors import UsageError
from stretta.http.server import auth, auth_gate
from stretta.http.server.auth import (
    Credentials,
    GuessLimiter,
    PasswordHash,
    Users,
    parse_credentials,
    password_line,
)
from stretta.http.server.auth_gate import AuthGate, Denied
from stretta.http.server.request import Request


def field(pair, scheme="Basic"):
    return f"{scheme} {base64.b64encode(pair).decode()}"


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (field(b"anna:segreto"), ("anna", "segreto")),
        (field(b"anna:segreto", "bAsIc"), ("anna", "segreto")),
        ("Basic   " + base64.b64encode(b"a:b").decode() + " ", ("a", "b")),
        (field(b"anna:a:b:"), ("anna", "a:b:")),
        (field(b":"), ("", "")),
        (field("perché:à".encode()), ("perché", "à")),
        (field(b"a:\xff"), ("a", "\udcff")),
        (field(b"anna"), None),
        (field(b""), None),
        (field(b"a:b", "Bearer"), None),
        ("Basic", None),
        ("", None),
        ("Basic %", None),
        ("Basic YTpi", ("a", "b")),
        ("Basic YTpi=", None),  # padding that is not needed
        ("Basic YTpi====", None),
        ("Basic YTo=", ("a", "")),
        ("Basic YTo", None),  # padding is missing
        ("Basic YTo==", None),
        ("Basic YTp=", None),  # bits that are not zero after the last byte
        ("Basic YT pi", None),
        ("Basic YTpi\n", None),
        ("Basic YTpi, Basic YTpi", None),
        ("Basic Y-_i", None),
    ],
)
def test_credentials(authorization, expected):
    assert parse_credentials(authorization) == expected


@pytest.mark.parametrize("control", [*range(0x20), 0x7F])
def test_control_characters_are_refused(control):
    assert parse_credentials(field(b"a:b" + bytes([control]))) is None
    assert parse_credentials(field(b"a" + bytes([control]) + b":b")) is None
    with pytest.raises(UsageError, match="control character"):
        password_line("anna", "b" + chr(control))


@given(st.binary(max_size=30))
def test_every_pair_is_read_as_it_was_sent(pair):
    found = parse_credentials(field(pair))
    text = pair.decode("utf-8", "surrogateescape")
    if ":" in text and all(ord(c) >= 0x20 and c != "\x7f" for c in text):
        assert found == tuple(text.split(":", 1))
    else:
        assert found is None


@given(st.text(max_size=40))
def test_no_field_raises(text):
    parse_credentials(text)
    parse_credentials("Basic " + text)


@pytest.mark.parametrize("user", ["", "a:b", "a\n", "a\x7f", "\x00"])
def test_a_name_that_cannot_be_sent_is_refused(user):
    with pytest.raises(UsageError, match="cannot be a user name"):
        password_line(user, "x")


def test_nothing_shows_a_password():
    assert "segreto" not in repr(Credentials("anna", "segreto"))
    assert repr(PasswordHash(b"salt", b"key")) == "PasswordHash(...)"
    with pytest.raises(UsageError) as caught:
        Users.load(["segreto"], None)
    assert "segreto" not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        Users(["segreto"])
    assert "segreto" not in str(caught.value)


@pytest.fixture(scope="module")
def users():
    return Users([password_line("anna", "segreto")])


def test_right_credentials_are_remembered(users):
    right, wrong = field(b"anna:segreto"), field(b"anna:wrong")
    assert users.remembered(right) is None
    assert users.check(right, Credentials("anna", "segreto")) == "anna"
    assert users.remembered(right) == "anna"
    assert users.check(wrong, Credentials("anna", "wrong")) is None
    assert users.check(wrong, Credentials("nobody", "segreto")) is None
    assert users.remembered(wrong) is None
    assert users.remembered(None) is None


def test_a_bounded_number_of_credentials_is_remembered(users, monkeypatch):
    monkeypatch.setattr(auth, "MAX_REMEMBERED", 2)
    monkeypatch.setattr(auth.PasswordHash, "of", lambda *_: users._users["anna"])
    for number in range(3):
        users.check(f"Basic {number}", Credentials("anna", ""))
    assert [users.remembered(f"Basic {number}") for number in range(3)] == [None, "anna", "anna"]


class TestLimiter:
    def test_the_priority_of_a_source(self):
        now = 0.0
        limiter = GuessLimiter(lambda: now)
        assert limiter.priority("a") == 1
        limiter.allow("a")
        assert limiter.priority("a") == 1
        limiter.distrust("a")
        assert limiter.priority("a") == 0
        now = 299.0
        assert limiter.priority("a") == 0
        now = 300.0
        assert limiter.priority("a") == 1
        limiter.distrust("a")
        limiter.trust("a")
        assert limiter.priority("a") == 2
        limiter.distrust("a")
        assert limiter.priority("a") == 2
        assert limiter.priority("b") == 1

    def test_a_bounded_number_of_sources_is_remembered(self, monkeypatch):
        monkeypatch.setattr(auth, "MAX_SOURCES", 2)
        monkeypatch.setattr(auth, "FREE_GUESSES", 1)
        limiter = GuessLimiter(lambda: 0.0)
        assert [limiter.allow(source) for source in "abab"] == [True, True, False, False]
        assert [limiter.allow(source) for source in "cb"] == [True, False]
        assert limiter.allow("a")  # forgotten
        for source in "aba":  # a is the last one
            limiter.distrust(source)
        limiter.distrust("c")
        assert [limiter.priority(source) for source in "abc"] == [0, 1, 0]
        for source in "abad":
            limiter.trust(source)
        assert [limiter.priority(source) for source in "abd"] == [2, 1, 2]

    def test_a_guess_is_given_back(self, monkeypatch):
        monkeypatch.setattr(auth, "FREE_GUESSES", 1)
        limiter = GuessLimiter(lambda: 0.0)
        limiter.give_back("a")  # which has sent none
        for _ in range(3):
            assert limiter.allow("a")
            limiter.give_back("a")
        assert limiter.allow("a")
        assert not limiter.allow("a")


class Client:
    sends_files = True

    def __init__(self, address):
        self.address = address

    def is_there(self):
        return True


class TestGate:
    @pytest.fixture
    def check(self, users, monkeypatch):
        """Hold every check until ``open`` is set; only ``right`` passwords are right."""

        class Check:
            open, checked = threading.Event(), []

            def __call__(self, _, credentials):
                self.open.wait()
                self.checked.append(credentials.password)
                return "anna" if credentials.password.startswith("right") else None

        check = Check()
        check.open, check.checked = threading.Event(), []
        monkeypatch.setattr(users, "check", check)
        monkeypatch.setattr(auth_gate, "CHECKS", 1)
        yield check
        check.open.set()

    async def login(self, gate, address, password):
        """Return the status that a request with a password gets."""
        headers = {"authorization": field(f"anna:{password}".encode())}
        request = Request("GET", b"/", "1.1", headers, keep_alive=True)
        try:
            await gate.check(request, Client(address))
        except Denied as denied:
            return denied.status
        return 200

    def run(self, main):
        asyncio.run(asyncio.wait_for(main(), 60))

    async def begin(self, *logins):
        tasks = []
        for login in logins:
            tasks.append(asyncio.create_task(login))
            await asyncio.sleep(0)
        return tasks

    def test_first_logins_go_before_sources_that_guess(self, users, check, monkeypatch):
        monkeypatch.setattr(auth_gate, "WAITING_CHECKS", 20)

        async def main():
            gate = AuthGate(users)
            check.open.set()
            for number in range(40):
                assert await self.login(gate, f"10.0.0.{number}", f"wrong {number}") == 401
            check.open.clear()
            guesses = await self.begin(
                *(self.login(gate, f"10.0.0.{number}", f"guess {number}") for number in range(40))
            )
            logins = await self.begin(
                *(self.login(gate, f"10.1.0.{number}", f"right {number}") for number in range(8))
            )
            check.checked.clear()
            check.open.set()
            assert await asyncio.gather(*logins) == [200] * 8
            assert {401, 503} == set(await asyncio.gather(*guesses))
            assert set(check.checked[1:9]) == {f"right {number}" for number in range(8)}

        self.run(main)

    def test_known_good_sources_go_first(self, users, check):
        async def main():
            gate = AuthGate(users)
            check.open.set()
            assert await self.login(gate, "10.0.0.1", "right") == 200
            check.open.clear()
            tasks = await self.begin(
                self.login(gate, "10.0.0.2", "wrong"),
                self.login(gate, "10.0.0.3", "right 3"),
                self.login(gate, "10.0.0.1", "right 1"),
            )
            check.checked.clear()
            check.open.set()
            assert await asyncio.gather(*tasks) == [401, 200, 200]
            assert check.checked == ["wrong", "right 1", "right 3"]

        self.run(main)

    @pytest.mark.parametrize(
        "addresses", [["10.0.0.1"] * 8, [f"2001:db8::{number}" for number in range(8)]]
    )
    def test_one_source_has_few_places(self, users, check, addresses):
        async def main():
            gate = AuthGate(users)
            tasks = await self.begin(
                *(self.login(gate, address, f"guess {n}") for n, address in enumerate(addresses))
            )
            other = await self.begin(self.login(gate, "2001:db8:1::1", "right"))
            check.open.set()
            found = await asyncio.gather(*tasks)
            assert sorted(found) == [401] * 5 + [503] * 3
            assert await asyncio.gather(*other) == [200]

        self.run(main)

    def test_a_refused_check_costs_no_guess(self, users, check, monkeypatch):
        monkeypatch.setattr(auth, "FREE_GUESSES", 1)
        monkeypatch.setattr(auth_gate, "WAITING_CHECKS", 0)

        async def main():
            gate = AuthGate(users)
            first = await self.begin(self.login(gate, "10.0.0.1", "wrong"))
            assert await self.login(gate, "10.0.0.2", "right") == 503
            check.open.set()
            assert await asyncio.gather(*first) == [401]
            assert await self.login(gate, "10.0.0.2", "right") == 200
            assert await self.login(gate, "10.0.0.1", "wrong again") == 429

        self.run(main)

    def test_malformed_credentials_cost_no_check(self, users, check):
        async def main():
            gate = AuthGate(users)
            headers = {"authorization": "Basic YTpi="}
            request = Request("GET", b"/", "1.1", headers, keep_alive=True)
            assert gate.admit_known(request) is False
            for _ in range(100):
                with pytest.raises(Denied) as denied:
                    await gate.check(request, Client("10.0.0.1"))
                assert denied.value.status == 401
            assert check.checked == []

        self.run(main)
