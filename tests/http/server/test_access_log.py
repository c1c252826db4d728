import asyncio
import json
from dataclasses import replace

import pytest

from stretta.http.server.access_log import AccessLog
from stretta.http.server.request import NO_REQUEST, Request

REQUEST = Request(
    "GET",
    b'/a"b\\c',
    "1.1",
    {"user-agent": 'evil\r\n" \x1b[31m', "referer": "http://a/"},
    keep_alive=True,
)


@pytest.mark.parametrize(
    ("form", "end"),
    [
        ("common", r'"GET /a\x22b\x5cc HTTP/1.1" 200 5'),
        (
            "combined",
            r'"GET /a\x22b\x5cc HTTP/1.1" 200 5 "http://a/" "evil\x0d\x0a\x22 \x1b[31m"',
        ),
    ],
)
def test_no_bytes_of_a_peer_can_forge_a_line(form, end):
    said = []

    async def main():
        log = AccessLog(said.append, form, lambda: 0.0)
        log.add("::1", REQUEST, 200, 5)
        await asyncio.sleep(0)

    asyncio.run(main())
    (line,) = said
    assert line.startswith("::1 - - [")
    assert line.endswith(end)


def test_json_lines():
    said = []

    async def main():
        log = AccessLog(said.append, "json", lambda: 0.0)
        log.add("::1", REQUEST, 404, None)
        log.flush()

    asyncio.run(main())
    found = json.loads(said[0])
    assert (found["status"], found["bytes"], found["agent"]) == (404, None, 'evil\r\n" \x1b[31m')


def test_the_lines_of_one_iteration_are_written_together():
    said = []

    async def main():
        log = AccessLog(said.append)
        for _ in range(3):
            log.add("::1", REQUEST, 200, 0)
        assert not said
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [text.count("\n") for text in said] == [2]


def test_input_without_a_request_line_is_logged_as_a_dash():
    said = []

    async def main():
        log = AccessLog(said.append, clock=lambda: 0.0)
        log.add("::1", NO_REQUEST, 400, 7)
        log.flush()

    asyncio.run(main())
    assert said[0].endswith('] "-" 400 7')


def test_a_user_name_stays_one_field():
    said = []

    async def main():
        log = AccessLog(said.append, clock=lambda: 0.0)
        log.add("::1", replace(REQUEST, user="an na ["), 200, 7)
        log.flush()

    asyncio.run(main())
    assert said[0].startswith("::1 - an\\x20na\\x20\\x5b [")
