"""``stretta http server`` as a process."""

import signal
import urllib.request

import pytest

from support import Running, stretta


def test_it_serves_a_folder_says_where_and_stops_cleanly(tmp_path):
    (tmp_path / "canto.txt").write_text("Nel mezzo del cammin")
    with Running("http", "server", "-a", "127.0.0.1", "-d", str(tmp_path)) as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert server.lines[0] == f"Serving at port {server.port}/tcp ..."
        server.expect(url)
        with urllib.request.urlopen(url + "canto.txt") as response:
            assert response.read() == b"Nel mezzo del cammin"
        server.expect(r'127\.0\.0\.1 - - \[.*\] "GET /canto.txt HTTP/1.1" 200 20')
        assert server.stop(signal.SIGINT) == 0
        assert "requests 1" in server.lines[-1]


def test_quiet_says_nothing(tmp_path):
    done = stretta("http", "server", "-q", "-d", str(tmp_path / "missing"))
    assert done.stdout == b""


@pytest.mark.parametrize("words", [("80",), ("abc",), ("-p", "65536"), ("0",)])
def test_a_port_that_is_none_is_said_in_the_lecture_s_words(words):
    done = stretta("http", "server", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(b"ERROR: -p option must be an integer in 1024..65535")
    assert b"Usage: " in done.stderr


def test_a_missing_folder_is_a_usage_error(tmp_path):
    done = stretta("http", "server", "-d", str(tmp_path / "missing"))
    assert done.returncode == 2
    assert b"there is no such folder" in done.stderr
    assert b"Traceback" not in done.stderr
