"""The options of a site, through a real server."""

import base64
import io
import json
import os
import zipfile
from contextlib import suppress

import pytest
from http_raw import Raw

from stretta import http as stretta_http
from stretta.errors import UsageError
from stretta.http.server import auth
from stretta.http.server.access_log import AccessLog
from stretta.http.server.auth import GuessLimiter, password_line
from stretta.http.server.files.document_root import DocumentRoot
from stretta.http.server.files.zip import PAUSE_AFTER, ZipBody
from stretta.options import SiteOptions
from support import serving


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"ciao\n")
    (tmp_path / ".hidden").write_bytes(b"hidden")
    (tmp_path / "sub" / "empty").mkdir(parents=True)
    (tmp_path / "sub" / "page.html").write_bytes(b"<p>page")
    (tmp_path / "sub" / "out").symlink_to("/etc")
    (tmp_path / "sub" / "round").symlink_to("..")
    return tmp_path


@pytest.fixture
def ask(folder):
    """Request a path from a server with some options: ``ask(options)("/path", ...)``."""
    open_ones = []

    def start(**options):
        running = serving(stretta_http.serve(folder, options=SiteOptions(**options)))
        server = running.__enter__()
        raw = Raw(server.port)
        open_ones.append((running, raw))
        return raw.get

    yield start
    for running, raw in open_ones:
        raw.__exit__()
        running.__exit__(None, None, None)


def test_hidden_files_are_served_with_hidden(ask):
    get = ask(hidden=True)
    assert get("/.hidden").body == b"hidden"
    assert b".hidden" in get("/?format=json").body


def test_the_index_option_names_the_index_file(ask, folder):
    (folder / "start.html").write_bytes(b"start")
    get = ask(index=("start.html",))
    got = get("/")
    assert (got.body, got.headers["Content-Location"]) == (b"start", "/start.html")


@pytest.mark.parametrize("name", ["sub/../../secret", "sub/page.html", "..", ""])
def test_an_index_must_be_a_plain_file_name(folder, name):
    with pytest.raises(UsageError, match="cannot stand for a folder"):
        stretta_http.serve(folder, options=SiteOptions(index=(name,)))


def test_without_listings_a_folder_looks_missing(ask):
    get = ask(listing=False)
    assert get("/sub/").body == get("/missing").body
    assert get("/sub/?format=zip").status == 404
    assert get("/sub/page.html").status == 200


def test_a_single_page_application(ask, folder):
    (folder / "index.html").write_bytes(b"application")
    get = ask(spa=True)
    for path in ("/", "/route", "/route/of/many/parts", "/file.txt/"):
        assert (get(path).status, get(path).body) == (200, b"application")
    assert get("/file.txt").body == b"ciao\n"
    assert get("/.git/config").status == 404
    get = ask(spa=True, listing=False)
    assert (get("/sub/").status, get("/sub/").body) == (200, b"application")
    (folder / "route").write_bytes(b"a file after all")
    assert get("/route").body == b"a file after all"


def test_a_base_path(ask):
    get = ask(base_path="/files/here")
    assert get("/files/here/file.txt").body == b"ciao\n"
    assert get("/files/here/sub").headers["Location"] == "/files/here/sub/"
    assert get("/files/here").headers["Location"] == "/files/here/"
    for path in ("/file.txt", "/files/", "/files/hereafter/file.txt", "/"):
        assert get(path).status == 404


def test_cors(ask):
    get = ask(cors=True)
    assert get("/file.txt").headers["Access-Control-Allow-Origin"] == "*"
    assert get("/missing").headers["Access-Control-Allow-Origin"] == "*"
    got = get(
        "/file.txt", "Origin: http://b", "Access-Control-Request-Method: GET", method="OPTIONS"
    )
    assert got.status == 204
    assert "GET" in got.headers["Access-Control-Allow-Methods"]


def test_headers_are_added_or_replaced(ask):
    get = ask(header=("X-Clacks: GNU", "Cache-Control: max-age=60"))
    got = get("/file.txt")
    assert got.headers["X-Clacks"] == "GNU"
    assert got.headers.get_all("Cache-Control") == ["max-age=60"]
    assert get("/missing").headers["X-Clacks"] == "GNU"


def test_a_header_may_be_given_twice_and_vary_is_extended(ask):
    get = ask(header=("Link: </a>", "link: </b>", "Vary: Origin", "Vary: Cookie"), cors=True)
    got = get("/file.txt")
    assert got.headers.get_all("Link") == ["</a>", "</b>"]
    assert got.headers.get_all("Vary") == ["Accept-Encoding, Origin, Cookie"]
    assert get("/", "Accept-Encoding: gzip").headers["Vary"] == (
        "Accept, Accept-Encoding, Origin, Cookie"
    )


@pytest.mark.parametrize(
    ("path", "why"),
    [("a%2fb", "does not begin with /"), ("/a%2fb", "No file can"), ("/a?b", "question mark")],
)
def test_an_invalid_base_path_is_refused_with_the_reason(folder, path, why):
    with pytest.raises(UsageError) as caught:
        stretta_http.serve(folder, options=SiteOptions(base_path=path))
    assert why in caught.value.why


def test_only_responses_with_a_validator_may_be_cached(ask):
    get = ask()
    for path, control in (("/file.txt", "no-cache"), ("/", "no-cache"), ("/missing", "no-store")):
        assert get(path).headers["Cache-Control"] == control


@pytest.mark.parametrize(
    "line", ["nonsense", "A b: c", "X: a\r\nY: b", "Content-Length: 5", "connection: close", ": x"]
)
def test_invalid_headers_are_refused(folder, line):
    with pytest.raises(UsageError, match="cannot add the header"):
        stretta_http.serve(folder, options=SiteOptions(header=(line,)))


def credentials(pair):
    return "Authorization: Basic " + base64.b64encode(pair.encode()).decode()


class TestUsers:
    def test_only_listed_users_may_read(self, ask):
        get = ask(auth=("anna:segreto", "perché:à:b"))
        refused = get("/file.txt")
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (
            401,
            'Basic realm="stretta", charset="UTF-8"',
        )
        for pair in ("anna:wrong", "nobody:segreto", "anna", ":", "anna:segreto "):
            assert get("/file.txt", credentials(pair)).status == 401
        for line in ("Authorization: Bearer x", "Authorization: Basic %", "Authorization: Basic"):
            assert get("/file.txt", line).status == 401
        for pair in ("anna:segreto", "perché:à:b"):
            for _ in range(2):
                assert get("/file.txt", credentials(pair)).body == b"ciao\n"
        assert get("/missing").status == 401
        assert get("/file.txt", method="DELETE").status == 401

    def test_guessing_is_limited_and_known_credentials_are_not(self, ask, monkeypatch):
        monkeypatch.setattr(auth, "FREE_GUESSES", 2)
        get = ask(auth=("anna:segreto",))
        assert get("/file.txt", credentials("anna:segreto")).status == 200
        found = [get("/file.txt", credentials(f"anna:{guess}")) for guess in range(30)]
        assert 429 in [answer.status for answer in found]
        assert {answer.status for answer in found} <= {401, 429}
        assert found[-1].headers["Retry-After"] == "1" or found[-1].status == 401
        assert get("/file.txt", credentials("anna:segreto")).status == 200

    def test_guesses_are_refilled_each_second_and_right_ones_are_free(self):
        now = 0.0
        guesses = GuessLimiter(lambda: now)
        for _ in range(3 * auth.FREE_GUESSES):
            assert guesses.allow("a")
            guesses.trust("a")
        assert sum(guesses.allow("a") for _ in range(3 * auth.FREE_GUESSES)) == auth.FREE_GUESSES
        assert guesses.allow("b")
        now = 2.0
        assert [guesses.allow("a") for _ in range(3)] == [True, True, False]

    def test_the_access_log_names_the_authenticated_user(self, folder):
        said = []
        options = SiteOptions(auth=("anna:segreto",))
        site = stretta_http.serve(folder, options=options, access=AccessLog(said.append))
        with serving(site) as server, Raw(server.port) as raw:
            raw.get("/file.txt", credentials("anna:wrong"))
            for _ in range(2):
                raw.get("/file.txt", credentials("anna:segreto"))
        users = [line.split()[2] for line in "\n".join(said).splitlines()]
        assert users == ["-", "anna", "anna"]

    def test_a_missing_file_of_users_is_an_error_with_its_reason(self, folder):
        with pytest.raises(UsageError) as caught:
            stretta_http.serve(folder, options=SiteOptions(auth_file=str(folder / "missing")))
        assert caught.value.why == "no such file or directory"

    def test_a_users_file(self, ask, tmp_path_factory):
        users = tmp_path_factory.mktemp("users") / "users"
        users.write_text("# those who may\n\n" + password_line("anna", "segreto") + "\n")
        get = ask(auth_file=str(users))
        assert get("/file.txt", credentials("anna:segreto")).status == 200
        assert get("/file.txt", credentials("anna:other")).status == 401

    @pytest.mark.parametrize("text", ["anna:segreto", "anna:scrypt:x", "anna:md5:eA==:eA=="])
    def test_a_malformed_file_of_users_is_refused(self, folder, text):
        users = folder / "users"
        users.write_text(text)
        with pytest.raises(UsageError, match="has no password that can be read"):
            stretta_http.serve(folder, options=SiteOptions(auth_file=str(users)))

    def test_an_empty_file_of_users_admits_nobody(self, ask, folder):
        users = folder / "users"
        users.write_text("")
        assert ask(auth_file=str(users))("/", credentials("a:b")).status == 401

    def test_passwords_without_tls_need_an_option(self, folder):
        options = {"auth": ("anna:segreto",)}
        with pytest.raises(UsageError, match="passwords would travel unprotected"):
            stretta_http.serve(folder, "0.0.0.0", options=SiteOptions(**options))
        stretta_http.serve(folder, "0.0.0.0", options=SiteOptions(**options, auth_without_tls=True))


class TestFolders:
    def test_as_json(self, ask):
        get = ask()
        for got in (get("/sub/?format=json"), get("/sub/", "Accept: application/json")):
            assert got.headers["Content-Type"] == "application/json"
            found = json.loads(got.body)
            assert found["path"] == "/sub/"
            assert [(e["name"], e["type"], e["size"]) for e in found["entries"]] == [
                ("empty", "folder", None),
                ("round", "folder", None),
                ("page.html", "file", 7),
            ]

    def test_an_unchanged_listing_gives_304(self, ask, folder):
        get = ask()
        for more in ((), ("Accept: application/json",), ("Accept-Encoding: gzip",)):
            tag = get("/sub/", *more).headers["ETag"]
            assert get("/sub/", *more, f"If-None-Match: {tag}").status == 304
        (folder / "sub" / "new").touch()
        assert get("/sub/", *more, f"If-None-Match: {tag}").status == 200

    def test_as_zip(self, ask):
        got = ask()("/?format=zip")
        assert got.headers["Content-Type"] == "application/zip"
        assert got.headers["Content-Disposition"].startswith("attachment; filename=")
        with zipfile.ZipFile(io.BytesIO(got.body)) as archive:
            assert archive.testzip() is None
            assert sorted(archive.namelist()) == [
                "file.txt", "sub/", "sub/empty/", "sub/page.html",
            ]  # fmt: skip
            assert archive.read("file.txt") == b"ciao\n"

    def test_a_zip_of_skipped_files_yields_to_other_connections(self, folder):
        for number in range(10 * PAUSE_AFTER):
            (folder / f"out {number}").symlink_to("/etc/passwd")
        pieces = ZipBody(DocumentRoot(folder), ())
        found = []
        with suppress(StopIteration):
            while True:
                found.append(next(pieces))
        assert found.count(b"") >= 10
        with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
            got = raw.get("/?format=zip")
        with zipfile.ZipFile(io.BytesIO(got.body)) as archive:
            assert archive.testzip() is None
            assert "file.txt" in archive.namelist()

    def test_names_in_a_zip_are_safe_on_other_systems(self, folder, ask):
        (folder / "up\\..\\..\\evil.txt").write_bytes(b"here")
        (folder / os.fsdecode(b"\xff.txt")).write_bytes(b"there")
        with zipfile.ZipFile(io.BytesIO(ask()("/?format=zip").body)) as archive:
            assert not any("\\" in name for name in archive.namelist())
            assert archive.read("up%5C..%5C..%5Cevil.txt") == b"here"
            assert archive.read("%5Cxff.txt") == b"there"

    def test_a_zip_ends_although_a_file_in_it_grows(self, folder):
        path = folder / "file.txt"
        pieces = ZipBody(DocumentRoot(folder), ())
        found = []
        with suppress(StopIteration):
            while True:
                found.append(next(pieces))
                with open(path, "ab") as log:
                    log.write(b"more\n" if len(found) < 10_000 else b"")
        assert len(found) < 10_000
        with zipfile.ZipFile(io.BytesIO(b"".join(found))) as archive:
            assert archive.testzip() is None

    def test_no_zip(self, ask):
        get = ask(zip=False)
        assert get("/?format=zip").status == 404
        assert b"format=zip" not in get("/").body

    def test_a_zip_for_http_1_0_ends_with_the_connection(self, folder):
        with serving(stretta_http.serve(folder)) as server, Raw(server.port) as raw:
            raw.send(b"GET /?format=zip HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, _, body = raw.rest().partition(b"\r\n\r\n")
            assert b"Transfer-Encoding" not in head
            assert zipfile.ZipFile(io.BytesIO(body)).testzip() is None

    def test_a_large_folder_is_split_into_pages(self, ask, folder):
        for number in range(1200):
            (folder / "sub" / f"file {number}").touch()
        get = ask()
        first = get("/sub/").body.decode()
        assert "Page 1 of 2" in first
        assert first.index("file 2<") < first.index("file 10<")
        second = get("/sub/?page=2").body.decode()
        assert "file 1199<" in second
        assert "file 1199<" not in first
        found = get("/sub/?q=11").body.decode()
        assert "file 1100<" in found
        assert "file 22<" not in found
        for query in ("?page=99999999", "?page=-1", "?page=x", "?sort=nonsense", "?q=%ff%00<b>"):
            assert get("/sub/" + query).status == 200
        assert "<b>" not in get("/sub/?q=<b>").body.decode()

    def test_sorting(self, ask, folder):
        for size, name in enumerate(("b", "a", "c")):
            (folder / "sub" / name).write_bytes(bytes(size))
            os.utime(folder / "sub" / name, (1000 - size, 1000 - size))

        def names(query):
            entries = json.loads(get(f"/sub/?format=json&{query}").body)["entries"]
            return "".join(e["name"] for e in entries if len(e["name"]) == 1)

        get = ask()
        assert names("") == "abc"
        assert names("order=desc") == "cba"
        assert names("sort=size") == "bac"
        assert names("sort=date") == "cab"

    def test_a_readme_is_rendered_without_scripts(self, ask, folder):
        (folder / "README.md").write_text(
            "# Title\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) [y](file.txt)\n"
        )
        (folder / "sub" / "README").write_text("<b>plain")
        get = ask()
        page = get("/").body.decode()
        assert "<h1>Title</h1>" in page
        assert '<a href="file.txt">y</a>' in page
        assert "<script>alert" not in page
        assert 'href="javascript' not in page
        assert "<pre>&lt;b&gt;plain</pre>" in get("/sub/").body.decode()

    def test_a_page_loads_nothing_from_other_sites(self, ask):
        page = ask()("/").body.decode()
        assert "http://" not in page
        assert "https://" not in page


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/html; charset=utf-8"),
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("image/png", "text/html; charset=utf-8"),
    ],
)
def test_errors_follow_accept_and_never_echo_the_request(ask, accept, kind):
    get = ask()
    got = get("/<script>alert(1)</script>", f"Accept: {accept}")
    assert (got.status, got.headers["Content-Type"]) == (404, kind)
    assert b"alert" not in got.body
    if "json" in kind:
        assert json.loads(got.body)["status"] == 404
