"""``stretta http server`` as a process."""

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress

import pytest

from support import Running, free_port, stretta, until


def test_it_serves_a_folder_prints_its_urls_and_stops_cleanly(tmp_path):
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


def test_quiet_prints_nothing(tmp_path):
    port = free_port()
    words = ["http", "server", "-q", "-a", "127.0.0.1", "-p", str(port), "-d", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "stretta", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:

        def answers():
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/"):
                return True

        until(answers, "the server")
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize("words", [("80",), ("abc",), ("-p", "65536"), ("0",)])
def test_a_wrong_port_gets_the_lecture_s_message(words):
    done = stretta("http", "server", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(b"ERROR: -p option must be an integer in 1024..65535")
    assert b"Usage: " in done.stderr


def test_a_missing_folder_is_a_usage_error(tmp_path):
    done = stretta("http", "server", "-d", str(tmp_path / "missing"))
    assert done.returncode == 2
    assert b"there is no such folder" in done.stderr
    assert b"Traceback" not in done.stderr


def test_json_prints_nothing_but_json(tmp_path):
    words = [sys.executable, "-m", "stretta", "http", "server", "--json", "-p", "0", "--any-port"]
    with subprocess.Popen(
        [*words, "-a", "127.0.0.1", "-d", str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        serving = json.loads(process.stdout.readline())
        assert serving["event"] == "serving"
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(serving["urls"][0] + "missing")
        answered = json.loads(process.stdout.readline())
        assert (answered["target"], answered["status"]) == ("/missing", 404)
        process.send_signal(signal.SIGTERM)
        assert json.loads(process.stdout.readline())["event"] == "stopped"
        assert process.wait() == 0


def test_the_line_of_http_password_admits_its_user(tmp_path):
    made = stretta("http", "password", "anna", stdin=b"segreto\n")
    assert made.returncode == 0
    assert b"segreto" not in made.stdout
    (tmp_path / "users").write_bytes(made.stdout)
    (tmp_path / "served").mkdir()
    options = ("-d", str(tmp_path / "served"), "--auth-file", str(tmp_path / "users"))
    with Running("http", "server", "-a", "127.0.0.1", *options) as server:
        url = f"http://127.0.0.1:{server.port}/"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url)
        credentials = base64.b64encode(b"anna:segreto").decode()
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})
        with urllib.request.urlopen(request) as response:
            assert response.status == 200


@pytest.mark.parametrize(("user", "password"), [("a:b", b"x\n"), ("anna", b"\n")])
def test_an_impossible_password_is_refused(user, password):
    assert stretta("http", "password", user, stdin=password).returncode == 2


def test_the_qr_code_follows_the_urls(tmp_path):
    with Running("http", "server", "-a", "127.0.0.1", "-d", str(tmp_path), "--qr") as server:
        server.expect("█▀|▀█|██")
        server.expect(f"^  http://127.0.0.1:{server.port}/$")


def test_tls_without_a_certificate_makes_one_and_names_its_authority(tmp_path):
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    (tmp_path / "a.txt").write_text("ciao")
    words = ("http", "server", "-a", "127.0.0.1", "-d", str(tmp_path), "--tls")
    with Running(*words, env=env) as server:
        authority = server.expect(r"curl --cacert (\S+)")[1]
        trusting = ssl.create_default_context(cafile=authority)
        url = f"https://localhost:{server.port}/a.txt"
        with urllib.request.urlopen(url, context=trusting) as response:
            assert response.read() == b"ciao"


def test_a_certificate_that_cannot_be_read_is_a_usage_error(tmp_path):
    done = stretta("http", "server", "--tls-cert", str(tmp_path / "missing.pem"))
    assert done.returncode == 2
    assert b"no such file" in done.stderr
    assert b"Usage: " in done.stderr
