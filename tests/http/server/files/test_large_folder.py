"""A folder of very many entries is listed while other requests are served."""

import threading

from stretta import http
from stretta.options import HttpLimits
from support import serving


def test_others_are_served_while_a_large_folder_is_listed(tmp_path):
    for number in range(20_000):
        (tmp_path / f"entry {number:05}").touch()
    (tmp_path / "small.txt").write_text("small")
    with serving(http.serve(tmp_path, limits=HttpLimits())) as server:
        url = f"http://127.0.0.1:{server.port}/"
        pages = []
        lister = threading.Thread(target=lambda: pages.append(http.get(url)))
        with http.Client() as client:
            assert client.get(url + "small.txt").text == "small"
            lister.start()
            served = 0
            while lister.is_alive():
                assert client.get(url + "small.txt").text == "small"
                served += 1
        lister.join()
        assert pages[0].status == 200
        assert "entry 00000" in pages[0].text
        assert served > 10  # while the page was made
