"""``stretta http client`` -o, -O and -c: complete or resumable, and no other file is replaced."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from canned import HELLO, canned
from support import Terminal, stretta, until

BODY = bytes(range(256)) * 4000


def whole(body=BODY, *fields):
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), b'ETag: "1"', *fields]
    return b"\r\n".join(head) + b"\r\n\r\n"


def test_a_complete_response_is_saved_under_its_name(tmp_path):
    with canned(whole() + BODY) as server:
        result = stretta("http", "client", "-o", "x", server.url, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"Saved 1024000 bytes in x" in result.stderr
    assert (tmp_path / "x").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert b"Accept-Encoding" not in server.requests[0]


def no_more(size):
    """Return a 416 response for an object of that size."""
    return b"HTTP/1.1 416 No\r\nContent-Length: 0\r\nContent-Range: bytes */%d\r\n\r\n" % size


def part_of(first, last, size, *fields):
    lines = [b"HTTP/1.1 206 P", b"Content-Range: bytes %d-%d/%d" % (first, last, size), *fields]
    lines.append(b"Content-Length: %d" % (last + 1 - first))
    return b"\r\n".join([*lines, b"", b""]) + BODY[first : last + 1]


def test_an_interrupted_download_is_resumed(tmp_path):
    size, have = len(BODY), 500_000
    head = b'HTTP/1.1 206 Partial\r\nETag: "1"\r\nContent-Range: bytes %d-%d/%d\r\n\r\n'
    tail = head % (have, size - 1, size) + BODY[have:]
    with canned(whole() + BODY[:have], tail, no_more(size)) as server:
        words = ("http", "client", "-o", "x", server.url)
        cut = stretta(*words, cwd=tmp_path)
        assert cut.returncode == 7
        assert b"500000 of the 1024000 promised bytes" in cut.stderr
        assert b"500000 bytes are in x.part. To resume: the same command with -c" in cut.stderr
        assert not (tmp_path / "x").exists()
        assert (tmp_path / "x.part").read_bytes() == BODY[:have]
        assert json.loads((tmp_path / "x.part.json").read_text())["etag"] == '"1"'
        assert stretta(*words, "-c", cwd=tmp_path).returncode == 0
        again = stretta(*words, "-c", cwd=tmp_path)
    assert b"is complete" in again.stderr
    assert b"Range: bytes=1024000-\r\n" in server.requests[2]
    assert b'Range: bytes=500000-\r\nIf-Range: "1"\r\n' in server.requests[1]
    assert (tmp_path / "x").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def begin(folder, have=100):
    (folder / "x.part").write_bytes(BODY[:have])
    facts = {"url": "", "etag": '"1"', "last_modified": "", "size": len(BODY)}
    (folder / "x.part.json").write_text(json.dumps(facts))


def test_an_object_that_has_changed_is_downloaded_from_the_start(tmp_path):
    begin(tmp_path)
    with canned(whole(b"new") + b"new") as server:
        result = stretta("http", "client", "-c", "-o", "x", server.url, cwd=tmp_path)
    assert result.returncode == 0
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_range_of_another_object_is_refused(tmp_path):
    begin(tmp_path)
    other = b'HTTP/1.1 206 P\r\nETag: "2"\r\nContent-Range: bytes 100-199/200\r\n\r\n' + bytes(100)
    with canned(other) as server:
        result = stretta("http", "client", "-c", "-o", "x", server.url, cwd=tmp_path)
    assert result.returncode == 1
    assert b"cannot resume" in result.stderr
    assert (tmp_path / "x.part").read_bytes() == BODY[:100]


def test_a_complete_part_gets_its_name(tmp_path):
    begin(tmp_path, len(BODY))
    with canned(no_more(len(BODY))) as server:
        result = stretta("http", "client", "-c", "-o", "x", server.url, cwd=tmp_path)
    assert result.returncode == 0
    assert (tmp_path / "x").read_bytes() == BODY


def test_a_name_from_the_server_never_replaces_a_file(tmp_path):
    (tmp_path / "passwd").write_text("mine")
    answer = whole(BODY, b'Content-Disposition: attachment; filename="../passwd"') + BODY
    with canned(answer) as server:
        result = stretta("http", "client", "-O", server.url, server.url + "z", cwd=tmp_path)
    assert result.returncode == 0
    assert (tmp_path / "passwd").read_text() == "mine"
    assert (tmp_path / "passwd-1").read_bytes() == (tmp_path / "passwd-2").read_bytes() == BODY


def test_a_file_is_complete_only_if_the_server_says_so(tmp_path):
    (tmp_path / "x").write_bytes(BODY[:10])
    with canned(part_of(10, 99, 100), no_more(100)) as server:
        words = ("http", "client", "-c", "-o", "x", server.url)
        rest = stretta(*words, cwd=tmp_path)
        whole_now = stretta(*words, "--json", cwd=tmp_path)
    assert b"Range: bytes=10-\r\n" in server.requests[0]
    assert b"If-Range" not in server.requests[0]
    assert (rest.returncode, (tmp_path / "x").read_bytes()) == (0, BODY[:100])
    assert b"shows that the parts are of one version" in rest.stderr
    assert json.loads(whole_now.stdout)["response"]["file"] == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_range_that_ends_early_leaves_a_part(tmp_path):
    begin(tmp_path, 5)
    answers = (part_of(5, 9, len(BODY)), part_of(10, len(BODY) - 1, len(BODY)))
    with canned(*answers) as server:
        words = ("http", "client", "-c", "-o", "x", server.url)
        some = stretta(*words, cwd=tmp_path)
        assert some.returncode == 7
        assert b"sent bytes 6 to 10 of 1024000. 10 bytes are in x.part" in some.stderr
        assert (tmp_path / "x.part").read_bytes() == BODY[:10]
        assert stretta(*words, cwd=tmp_path).returncode == 0
    assert (tmp_path / "x").read_bytes() == BODY


def test_a_range_with_too_many_bytes_leaves_the_part_as_it_was(tmp_path):
    begin(tmp_path)
    lying = b"HTTP/1.1 206 P\r\nContent-Range: bytes 100-109/1024000\r\n\r\n" + bytes(99)
    with canned(lying) as server:
        result = stretta("http", "client", "-c", "-o", "x", server.url, cwd=tmp_path)
    assert result.returncode == 1
    assert b"announced 10 bytes and sent 99" in result.stderr
    assert (tmp_path / "x.part").read_bytes() == BODY[:100]


def test_a_range_that_was_not_requested_is_refused(tmp_path):
    with canned(part_of(0, 9, 100)) as server:
        result = stretta("http", "client", "-o", "x", server.url, cwd=tmp_path)
        asked = stretta(
            "http", "client", "-o", "y", "-H", "Range: bytes=0-9", server.url, cwd=tmp_path
        )
    assert result.returncode == 1
    assert b"without being asked" in result.stderr
    assert asked.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


def test_a_part_of_another_url_is_refused(tmp_path):
    with canned(whole() + BODY[:9]) as server:
        stretta("http", "client", "-o", "x", server.url + "a", cwd=tmp_path)
        result = stretta("http", "client", "-c", "-o", "x", server.url + "b", cwd=tmp_path)
        assert len(server.requests) == 1
    assert result.returncode == 2
    assert (
        f"cannot resume x.part: it is part of another object, {server.url}a"
        in result.stderr.decode()
    )
    assert (tmp_path / "x.part").read_bytes() == BODY[:9]


def test_a_name_from_the_server_takes_no_other_part(tmp_path):
    (tmp_path / "thesis.part").write_text("mine")
    (tmp_path / "thesis-1.part.json").write_text("mine too")
    answer = whole(BODY, b'Content-Disposition: attachment; filename="thesis"') + BODY
    with canned(answer) as server:
        assert stretta("http", "client", "-O", server.url, cwd=tmp_path).returncode == 0
    names = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert names == {"thesis.part": 4, "thesis-1.part.json": 8, "thesis-2": len(BODY)}


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    def answer(connection):
        connection.sendall(whole() + BODY[:9])
        (tmp_path / "index.html").write_text("mine")
        connection.sendall(BODY[9:])

    with canned(answer) as server:
        result = stretta("http", "client", "-O", server.url, cwd=tmp_path)
    assert b"in index-1.html" in result.stderr
    assert (tmp_path / "index.html").read_text() == "mine"
    assert (tmp_path / "index-1.html").read_bytes() == BODY
    assert len(list(tmp_path.iterdir())) == 2


def test_a_part_with_a_name_from_the_server_is_found_and_resumed(tmp_path):
    (tmp_path / "x").write_text("mine")
    cut = whole(BODY, b"Content-Disposition: attachment; filename=x") + BODY[:100]
    rest = part_of(100, len(BODY) - 1, len(BODY), b'ETag: "1"')
    with canned(cut, rest) as server:
        words = ("http", "client", "-O", server.url + "download")
        first = stretta(*words, cwd=tmp_path)
        assert b"100 bytes are in x-1.part. To resume: the same command with -c" in first.stderr
        assert stretta(*words, "-c", cwd=tmp_path).returncode == 0
    assert b'Range: bytes=100-\r\nIf-Range: "1"\r\n' in server.requests[1]
    assert (tmp_path / "x").read_text() == "mine"
    assert (tmp_path / "x-1").read_bytes() == BODY
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_with_the_name_of_the_url_is_resumed_only_with_o(tmp_path):
    (tmp_path / "x").write_bytes(BODY[:10])
    with canned(part_of(10, 99, 100), no_more(10)) as server:
        words = ("http", "client", "-c", "-O", server.url + "x")
        refused = stretta(*words, cwd=tmp_path)
        there = stretta(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert b"-c -o x" in refused.stderr
    assert (there.returncode, b"x is complete" in there.stderr) == (0, True)
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("x", 10)]


def test_permissions_and_links_are_kept(tmp_path):
    (tmp_path / "private").write_text("old")
    (tmp_path / "private").chmod(0o600)
    (tmp_path / "link").symlink_to("private")
    with canned(whole() + BODY) as server:
        assert stretta("http", "client", "-o", "link", server.url, cwd=tmp_path).returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "private").read_bytes() == BODY
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 2


def test_two_commands_cannot_write_one_part(tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(connection):
        connection.sendall(whole() + BODY[:9])
        begun.set()
        go_on.wait(20)
        connection.sendall(BODY[9:])

    with canned(slowly) as slow, canned(whole() + BODY) as fast:
        words = ("http", "client", "-o", "x")
        with ThreadPoolExecutor() as pool:
            first = pool.submit(stretta, *words, slow.url, cwd=tmp_path)
            begun.wait(20)
            until((tmp_path / "x.part.json").exists, "the first part")
            second = stretta(*words, fast.url, cwd=tmp_path)
            go_on.set()
    assert (first.result().returncode, second.returncode) == (0, 1)
    assert b"another download is writing it" in second.stderr
    assert (tmp_path / "x").read_bytes() == BODY


def test_a_compressed_body_is_never_resumed(tmp_path):
    coded = gzip.compress(BODY, mtime=0)
    answer = whole(coded, b"Content-Encoding: gzip")
    with canned(answer + coded[:3000], answer + coded) as server:
        words = ("http", "client", "--compressed", "-o", "x", server.url)
        assert stretta(*words, cwd=tmp_path).returncode == 7
        assert json.loads((tmp_path / "x.part.json").read_text())["size"] is None
        again = stretta(*words, "-c", cwd=tmp_path)
    assert b"Range" not in server.requests[1]
    assert (again.returncode, b"downloaded from the start" in again.stderr) == (0, True)
    assert (tmp_path / "x").read_bytes() == BODY


def test_ctrl_c_prints_how_to_resume(tmp_path):
    over = threading.Event()

    def slowly(connection):
        connection.sendall(whole() + BODY[:9])
        over.wait(20)

    path = tmp_path / "x"
    with canned(slowly) as server:
        words = ("http", "client", "--json", "-o", str(path), server.url)
        with Terminal(*words, env={"NO_COLOR": "1"}) as person:
            part = tmp_path / "x.part"
            until(lambda: part.exists() and part.stat().st_size == 9, "the part")
            person.type("\x03")
            assert person.end() == 130
        over.set()
    shown = "".join(person.screen.split("\n"))
    assert f"9 bytes are in {path}.part. To resume: the same command with -c" in shown
    assert '"exit_status": 130' in shown


def test_the_size_limit_of_a_saved_body(tmp_path):
    with canned(whole() + BODY, part_of(20, 99, len(BODY), b'ETag: "1"')) as server:
        words = ("http", "client", "--max-size", "99", "-o", "x", server.url)
        begin(tmp_path, 20)
        result = stretta(*words, cwd=tmp_path)
    assert result.returncode == 7
    assert b"99 is the limit. Allow more with --max-size BYTES." in result.stderr


@pytest.mark.parametrize("words", [("-o", ""), ("-X", "HEAD", "-o", "x"), ("-X", "head", "-O")])
def test_a_missing_name_or_body_is_a_usage_error(words, tmp_path):
    assert stretta("http", "client", *words, ":1", cwd=tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_an_error_page_is_not_saved(tmp_path):
    with canned(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nciao") as server:
        result = stretta("http", "client", "-o", "x", server.url, cwd=tmp_path)
    assert result.returncode == 4
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_is_too_large_is_not_saved(tmp_path):
    with canned(whole() + BODY) as server:
        result = stretta(
            "http", "client", "--max-size", "9999", "-o", "x", server.url, cwd=tmp_path
        )
    assert result.returncode == 7
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("path", ["/dev/full", "missing/x", "."])
def test_a_file_that_cannot_be_written_is_an_error(path, tmp_path):
    with canned(HELLO) as server:
        result = stretta("http", "client", "-o", path, server.url, cwd=tmp_path)
    assert result.returncode == 1
    assert b"cannot write" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_full_standard_output_is_an_error():
    with canned(HELLO) as server, open("/dev/full", "wb") as full:
        import subprocess  # noqa: PLC0415
        import sys  # noqa: PLC0415

        words = [sys.executable, "-m", "stretta", "http", "client", "-q", server.url]
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 1
    assert b"no space left" in result.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-o", "x", ":1", ":1"], "-O"),
        (["-c", ":1"], "-o FILE"),
        (["-d", "-", ":1", ":1"], "one URL"),
        (["-H", "nonsense", ":1"], "no colon"),
        (["-H", "a b: c", ":1"], "one word"),
        (["-X", "G T", ":1"], "one word"),
        (["-d", "@/missing", ":1"], "no such file"),
        (["--proxy", "ftp://x", ":1"], "cannot use the proxy"),
        (["--tls-ca", "/missing", "https://127.0.0.1:1/"], None),
        (["--http", "2", ":1"], "1.0"),
        (["--auth", "a:b", "-H", "authorization: x", ":1"], "given twice"),
        (["-c", "-O", "-H", "Range: bytes=0-", ":1"], "Range of its own"),
    ],
)
def test_usage_errors(words, why):
    result = stretta("http", "client", *words)
    assert result.returncode == (1 if why is None else 2)
    assert why is None or why in result.stderr.decode()
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("data", ["ciao", "@file", "-"])
def test_data_is_sent(data, tmp_path):
    (tmp_path / "file").write_bytes(b"ciao")
    with canned(HELLO) as server:
        result = stretta(
            "http", "client", "-q", "-d", data, server.url, cwd=tmp_path, stdin=b"ciao"
        )
    assert result.stdout == b"ciao"
    request = server.requests[0]
    assert request.startswith(b"POST / HTTP/1.1\r\n")
    assert (b"4\r\nciao\r\n0\r\n\r\n" if data == "-" else b"\r\n\r\nciao") in request


def test_headers_and_credentials_are_sent():
    with canned(HELLO) as server:
        stretta("http", "client", "-H", "X: perché", "-H", "Accept:", "--auth", "a:b:c", server.url)
    request = server.requests[0]
    assert "X: perché\r\n".encode() in request
    assert b"Accept:" not in request
    assert b"Authorization: Basic YTpiOmM=\r\n" in request


def test_a_har_file_holds_the_exchanges(tmp_path):
    with canned(HELLO) as server:
        stretta("http", "client", "--har", "x.har", server.url + "?a=b", cwd=tmp_path)
    (entry,) = json.loads((tmp_path / "x.har").read_text())["log"]["entries"]
    assert entry["request"]["queryString"] == [{"name": "a", "value": "b"}]
    assert entry["response"]["content"]["text"] == "ciao"
    assert sum(t for t in entry["timings"].values() if t > 0) == pytest.approx(entry["time"], abs=1)


def test_a_har_file_omits_bodies_that_are_too_large_together(tmp_path):
    body = bytes(12 << 20)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with canned(answer) as server:
        stretta("http", "client", "-q", "--har", "x", *[server.url] * 3, cwd=tmp_path)
    entries = json.loads((tmp_path / "x").read_text())["log"]["entries"]
    kept = ["text" in entry["response"]["content"] for entry in entries]
    assert kept == [True, True, False]
    assert "omitted" in entries[2]["comment"]
    assert entries[2]["response"]["content"]["size"] == len(body)


def test_a_json_document_has_a_limit_that_max_size_raises():
    body = bytes(33 << 20)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with canned(answer) as server:
        refused = stretta("http", "client", "--json", server.url)
        allowed = stretta("http", "client", "--json", "--max-size", "34MiB", server.url)
    assert refused.returncode == 7
    assert b"33554432 is the limit" in refused.stderr
    assert json.loads(refused.stdout)["response"].get("text") is None
    assert json.loads(allowed.stdout)["response"]["body_bytes"] == len(body)


def test_a_har_file_holds_redirects_failures_and_what_was_sent(tmp_path):
    moved = b"HTTP/1.1 307 T\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"
    with canned(moved, HELLO) as server:
        words = ("--har", "x.har", "--follow", "-d", "a=b", server.url, ":1/nobody")
        assert stretta("http", "client", *words, cwd=tmp_path).returncode == 1
    first, second, third = json.loads((tmp_path / "x.har").read_text())["log"]["entries"]
    assert (first["response"]["status"], first["response"]["redirectURL"]) == (307, "/x")
    assert (second["request"]["url"], second["response"]["status"]) == (server.url + "x", 200)
    assert second["request"]["postData"]["text"] == "a=b"
    assert (third["request"]["url"], third["response"]["status"]) == (
        "http://127.0.0.1:1/nobody",
        0,
    )
    assert "connection refused" in third["comment"]


def test_a_har_file_that_cannot_be_written_is_an_error_before_the_request(tmp_path):
    with canned(HELLO) as server:
        result = stretta("http", "client", "--har", "missing/x", server.url, cwd=tmp_path)
        assert server.requests == []
    assert (result.returncode, b"cannot write missing/x" in result.stderr) == (1, True)


def test_the_curl_command_is_equivalent():
    result = stretta("http", "client", "--curl", "-d", "a=b", "-H", "X: it's", ":8080/x")
    assert result.stdout.decode() == (
        "curl --http1.1 --compressed -H 'X: it'\"'\"'s' -H 'Content-Type:"
        " application/x-www-form-urlencoded' --data-binary a=b http://127.0.0.1:8080/x\n"
    )


@pytest.mark.parametrize(
    ("words", "curl"),
    [
        (["http://a/[1]?{2}"], "-g 'http://a/[1]?{2}'"),
        (["-H", "X: perché", "http://a"], "-H 'X: perché' http://a/"),
        (["http://a%40b:c%3Ad@a"], "-u a@b:c:d http://a/"),
        (["-O", "http://a/x"], "-O -J http://a/x"),
        (["-c", "-O", "http://a/x"], "-O -C - http://a/x"),
        (["-c", "-o", "y", "http://a/x"], "-o y -C - http://a/x"),
        (["--idle-timeout", "2.5", "http://a"], "--speed-limit 1 --speed-time 3 http://a/"),
        (["--tls-ca", "/tmp", "https://a"], "--capath /tmp https://a/"),
        (["--proxy", "http://p", "http://a"], "-x http://p:80 http://a/"),
        (
            ["--http", "1.0", "-H", "Accept: x", "http://127.0.0.1"],
            "curl --http1.0 -H 'Accept: x' -H Host: -H User-Agent: http://127.0.0.1/",
        ),
    ],
)
def test_the_options_of_the_curl_command(words, curl):
    result = stretta("http", "client", "--curl", *words)
    assert result.stdout.decode().endswith(curl + "\n")


def test_a_request_that_curl_cannot_send_is_an_error():
    for words in ([], ["-X", "HEAD", "-d", "x", ":1"]):
        result = stretta("http", "client", "--curl", *words)
        assert (result.returncode, result.stdout) == (2, b"")


def test_verbose_prints_times_and_each_read_and_write():
    with canned(HELLO) as server:
        result = stretta("http", "client", "-vv", server.url)
    lines = result.stderr.decode().splitlines()
    assert all(line[:9].strip() and line[9:13] == " ms " for line in lines)
    marks = [line[13:].rstrip() for line in lines]
    assert "> GET / HTTP/1.1" in marks
    assert "< HTTP/1.1 200 OK" in marks
    assert f"* write {len(server.requests[0])} bytes, 1 to {len(server.requests[0])}" in str(marks)
    assert "(4 bytes of body, 4 so far)" in str(marks)
