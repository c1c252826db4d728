"""Makes tests/see/recordings anew, each by a real run in a lab: python tests/see/record.py [NAME].

The tests read the recordings; they need no lab, and say the same on every machine. With --pictures
only tests/see/pictures are made anew: how each recording is drawn, explained and linked.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from stretta.lab.recording import record
from stretta.lab.scenarios import HERE as OWN
from stretta.options import LabOptions, WireOptions
from stretta.see.json_document import to_document

FOLDER = Path(__file__).parent / "recordings"

SERVER = """
import os, socket, struct, time
listener = socket.create_server(("", 12000))
connection, _ = listener.accept()
"""
CLIENT = """
import socket, struct, sys, time
def connect(port=12000):
    connection = socket.socket()
    connection.connect(("10.0.0.2", port))
    return connection
"""
UDP_SERVER = """
import socket, time
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 12000))
"""
UDP_CLIENT = """
import socket, time
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
there = ("10.0.0.2", 12000)
"""
READ_ALL = SERVER + "while connection.recv(65536): pass\nconnection.close()"
ECHO = SERVER + "while data := connection.recv(65536): connection.sendall(data)\nconnection.close()"
SILENT = SERVER + "connection.recv(10); time.sleep(0.6)"
SEND = CLIENT + "c = connect(); c.sendall(bytes({size})); c.close()"


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def own(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(OWN / f"{name}.py"), *arguments]


PLAIN = own("tcp_server"), own("tcp_client", "ciao")
UDP_ECHO = own("udp_server")


def far(**faults: str) -> WireOptions:
    return WireOptions(delay=("10ms",), **{name: (value,) for name, value in faults.items()})


# name: server, client, wire
RUNS = {
    "handshake": (*PLAIN, WireOptions(delay=("20ms",))),
    "lost-syn": (*PLAIN, far(drop="syn:1")),
    "lost-syn-ack": (*PLAIN, far(drop="syn-ack:1")),
    "lost-handshake-ack": (*PLAIN, far(drop="client>server ack:1")),
    "refused": (
        python(SERVER),
        python(CLIENT + "try: connect(9)\nexcept OSError as e: print(e)"),
        far(),
    ),
    "unanswered": (
        python(SERVER),
        python(CLIENT + "s = socket.socket(); s.settimeout(1.5)\ntry: s.connect(('10.0.0.2', 12000))\nexcept OSError as e: print(e)"),
        far(drop="syn"),
    ),
    "not-blocking": (
        python(ECHO),
        python(CLIENT + "s = socket.socket(); s.settimeout(2); s.connect(('10.0.0.2', 12000)); s.sendall(b'a'); s.recv(9)"),
        far(),
    ),
    "accepted-late": (
        python(SERVER.replace("connection,", "time.sleep(0.3); connection,")),
        python(CLIENT + "c = connect(); time.sleep(0.4)"),
        far(),
    ),
    "never-accepted": (
        python(SERVER.replace("connection, _ = listener.accept()", "time.sleep(9)")),
        python(CLIENT + "c = connect(); c.sendall(b'a'); time.sleep(0.1)"),
        far(),
    ),
    "unread-data": (own("tcp_server"), own("tcp_client", "--size", "5000"), far()),
    "small-sends": (
        python(SERVER + "time.sleep(0.2)\nwhile connection.recv(65536): pass\nconnection.close()"),
        python(CLIENT + "c = connect()\nfor n in range(5): c.sendall(b'0123456789')\ntime.sleep(0.3); c.close()"),
        WireOptions(delay=("20ms",)),
    ),
    "small-receives": (
        python(SERVER + "while connection.recv(100): pass\nconnection.close()"),
        python(SEND.format(size=400)),
        far(),
    ),
    "ping-pong": (
        python(SERVER + "for n in range(8): connection.sendall(connection.recv(9))\nconnection.recv(9); time.sleep(0.3); connection.close()"),
        python(CLIENT + "c = connect()\nfor n in range(8): c.sendall(b'ping'); c.recv(9)\nc.sendall(b'last'); c.recv(9); c.close()"),
        WireOptions(),
    ),
    "full-buffers": (
        python(
            "import socket, time\nlistener = socket.socket()\n"
            "listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)\n"
            "listener.bind(('', 12000)); listener.listen()\nconnection, _ = listener.accept()\n"
            "time.sleep(0.5)\nwhile connection.recv(65536): time.sleep(0.01)\nconnection.close()"
        ),
        python(
            CLIENT + "c = socket.socket(); c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)\n"
            "c.connect(('10.0.0.2', 12000)); c.setblocking(False)\n"
            "sent = 0\ntry:\n while True: sent += c.send(bytes(30000 - sent))\n"
            "except BlockingIOError: pass\n"
            "c.setblocking(True); c.sendall(bytes(30000 - sent)); c.close()"
        ),
        WireOptions(delay=("1ms",)),
    ),
    "lost-data": (python(READ_ALL), python(SEND.format(size=4)), far(drop="data:1")),
    "lost-thrice": (python(READ_ALL), python(SEND.format(size=4)), far(drop="data:1-3")),
    "lost-in-the-middle": (python(READ_ALL), python(SEND.format(size=20000)), far(drop="data:3")),
    "lost-only-ack": (
        python(SILENT),
        python(CLIENT + "c = connect(); c.sendall(b'ciao'); time.sleep(0.7); c.close()"),
        far(drop="server>client ack:1"),
    ),
    "lost-ack": (python(READ_ALL), python(SEND.format(size=20000)), far(drop="server>client ack:2")),
    "corrupted": (python(READ_ALL), python(SEND.format(size=4)), far(corrupt="data:1")),
    "doubled": (python(READ_ALL), python(SEND.format(size=4)), far(duplicate="data:1")),
    "overtaken": (python(READ_ALL), python(SEND.format(size=20000)), far(reorder="data:3")),
    "lost-fin": (python(READ_ALL), python(SEND.format(size=4)), far(drop="client>server fin:1")),
    "unplugged": (*PLAIN, far(cut="0s-600ms")),
    "forged-reset": (python(READ_ALL), python(CLIENT + "c = connect(); c.sendall(b'a')\ntry: c.recv(9)\nexcept OSError as e: print(e)"), far(rst="data:1")),
    "queue-full": (
        python(READ_ALL),
        python(SEND.format(size=40000)),
        WireOptions(rate=("4mbit",), queue=5),
    ),
    "gave-up": (
        python(SILENT),
        python(CLIENT + "c = connect(); c.setsockopt(6, 18, 600); c.sendall(b'a')\ntry: c.recv(9)\nexcept OSError as e: print(e)"),
        far(drop="client>server data"),
    ),
    "broken-pipe": (
        python(SERVER + "connection.close(); time.sleep(1)"),
        python(CLIENT + "c = connect(); time.sleep(0.1)\nfor n in range(3):\n try: c.send(b'a')\n except OSError as e: print(e)\n time.sleep(0.1)"),
        far(),
    ),
    "gone": (
        python(SERVER + "os._exit(0)"),
        python(CLIENT + "c = connect(); time.sleep(0.2); c.send(b'a'); time.sleep(0.1)"),
        far(),
    ),
    "half-close": (
        python(SERVER + "while connection.recv(99): pass\nconnection.sendall(b'all of it'); connection.close()"),
        python(CLIENT + "c = connect(); c.sendall(b'a'); c.shutdown(socket.SHUT_WR)\nwhile c.recv(99): pass\nc.close()"),
        far(),
    ),
    "both-closed": (
        python(SERVER + "connection.close(); time.sleep(1)"),
        python(CLIENT + "c = connect(); time.sleep(0.1); c.close(); time.sleep(0.3)"),
        WireOptions(delay=("100ms",)),
    ),
    "linger": (
        python(READ_ALL.replace("while connection", "time.sleep(0.2)\nwhile 0 and connection")),
        python(CLIENT + "c = connect(); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close(); time.sleep(0.1)"),
        far(),
    ),
    "close-goes-on": (python(READ_ALL), python(SEND.format(size=20000)), WireOptions(rate=("4mbit",))),
    "http": (
        [sys.executable, "-m", "http.server", "8080", "-d", str(OWN)],
        python("import urllib.request as u; u.urlopen('http://10.0.0.2:8080/').read()"),
        far(),
    ),
    "tls": (
        "openssl s_server -quiet -port 4433 -key {folder}/key -cert {folder}/cert",
        "openssl s_client -quiet -connect 10.0.0.2:4433 -verify_quiet < /dev/null",
        far(),
    ),
    "udp": (UDP_ECHO, own("udp_client", "ciao"), far()),
    "udp-lost": (UDP_ECHO, python(UDP_CLIENT + "client.sendto(b'ciao', there)"), far(drop="udp:1")),
    "udp-repeated": (
        UDP_ECHO,
        python(UDP_CLIENT + "client.settimeout(0.2)\nfor n in range(2):\n client.sendto(b'ciao', there)\n try: client.recvfrom(99); break\n except OSError as e: print(e)"),
        far(drop="udp:1"),
    ),
    "udp-waited": (
        UDP_ECHO,
        python(UDP_CLIENT + "import struct\nclient.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 0, 200000))\nclient.sendto(b'a', there)\ntry: client.recv(9)\nexcept OSError as e: print(e)"),
        far(drop="server>client udp:1"),
    ),
    "udp-doubled": (UDP_ECHO, own("udp_client", "ciao"), far(duplicate="client>server udp:1")),
    "udp-overtaken": (
        UDP_ECHO,
        python(UDP_CLIENT + "for n in range(3): client.sendto(b'%d' % n, there)\nfor n in range(3): client.recvfrom(9)"),
        far(reorder="client>server udp:1"),
    ),
    "udp-truncated": (
        python(UDP_SERVER + "data, who = server.recvfrom(10); server.sendto(data, who)"),
        python(UDP_CLIENT + "client.sendto(bytes(100), there); client.recv(99)"),
        far(),
    ),
    "udp-fragmented": (
        python(UDP_SERVER + "data, who = server.recvfrom(9999); server.sendto(b'a', who)"),
        python(UDP_CLIENT + "client.sendto(bytes(5000), there); client.recv(99)"),
        far(),
    ),
    "udp-fragment-lost": (
        python(UDP_SERVER + "server.recvfrom(9999)"),
        python(UDP_CLIENT + "client.sendto(bytes(5000), there); time.sleep(0.1)"),
        far(drop="fragment:2"),
    ),
    "udp-refused": (
        python(UDP_SERVER + "time.sleep(9)"),
        python(UDP_CLIENT + "client.connect(('10.0.0.2', 9)); client.send(b'a')\ntry: client.recv(9)\nexcept OSError as e: print(e)"),
        far(),
    ),
    "udp-refused-unheard": (
        python(UDP_SERVER + "time.sleep(9)"),
        python(UDP_CLIENT + "client.sendto(b'a', ('10.0.0.2', 9)); time.sleep(0.1); client.close()"),
        far(),
    ),
    "udp-empty": (UDP_ECHO, python(UDP_CLIENT + "client.sendto(b'', there); client.recv(9)"), far()),
    "udp-unread": (
        python(UDP_SERVER + "time.sleep(9)"),
        python(UDP_CLIENT + "client.sendto(b'a', there); time.sleep(0.1)"),
        far(),
    ),
    "udp-corrupted": (UDP_ECHO, python(UDP_CLIENT + "client.sendto(bytes(50), there); time.sleep(0.1)"), far(corrupt="udp:1")),
}  # fmt: skip


def main() -> None:
    if sys.argv[1:] == ["--pictures"]:
        sys.path.append(str(Path(__file__).parents[1]))
        from recordings import PICTURES, RECORDINGS, load, picture  # noqa: PLC0415

        for path in RECORDINGS:
            (PICTURES / f"{path.stem}.txt").write_text(picture(load(path.stem)), encoding="utf-8")
        return
    FOLDER.mkdir(exist_ok=True)
    names = sys.argv[1:] or list(RUNS)
    with tempfile.TemporaryDirectory() as folder:
        request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server"
        subprocess.run(
            ["openssl", *request.split(), "-keyout", f"{folder}/key", "-out", f"{folder}/cert"],
            check=True, capture_output=True,
        )  # fmt: skip
        for name in names:
            server, client, wire = RUNS[name]
            if isinstance(server, str):
                server, client = server.format(folder=folder), client.format(folder=folder)
            lab = LabOptions(settle=0.6) if "fin" in name else LabOptions()
            made = record(server, client, wire=wire, lab=lab, seed=1)
            save(name, to_document(made.timeline))
            print(name, made.status, *sorted({note.rule for note in made.timeline.notes}))


def save(name: str, document: dict) -> None:
    """Write a recording without what is found anew, and without what names this machine."""
    dull = {"setsockopt", "getsockopt", "getsockname", "getpeername", "ioctl", "fcntl"}
    events = [
        e for e in document["events"]
        if e["kind"] not in ("print", "state")
        and not (e.get("name") in dull and e.get("option") != "SO_LINGER")
    ]  # fmt: skip
    lines = ",\n".join(json.dumps(e, ensure_ascii=False) for e in events)
    hosts = ",\n".join(json.dumps(host, ensure_ascii=False) for host in document["hosts"])
    text = (
        f'{{"version": {document["version"]}, "start": 0, "hosts": [\n{hosts}\n],'
        f' "events": [\n{lines}\n]}}\n'
    )
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
