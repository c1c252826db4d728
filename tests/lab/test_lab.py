"""Labs as they are: real namespaces, real programs, real frames."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from processes import children_of, processes_with
from stretta.errors import StrettaError, TimedOut
from stretta.lab import SCENARIOS
from stretta.lab.messages import Failed, Stage
from stretta.lab.unavailable import failure_error
from stretta.options import LabOptions, WireOptions
from stretta.see.events import Call, Fault, Frame, State
from stretta.see.json_document import VERSION
from support import PATIENCE, until

ECHO = (
    "import socket\nlistener = socket.create_server(('', 12000))\n"
    "while True:\n"
    "    c, _ = listener.accept()\n"
    "    while data := c.recv(65536): c.sendall(data)\n"
    "    c.close()\n"
)
ASK = (
    "import socket, sys\nc = socket.create_connection((sys.argv[1], 12000))\n"
    "c.sendall(b'ciao'); print(c.recv(99).decode(), c.getpeername()[0]); c.close()\n"
)
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def python(text, *arguments):
    return [sys.executable, "-c", text, *arguments]


def events(recording, kind):
    return [e for e in recording.timeline.events if isinstance(e, kind)]


def printed(recording, host):
    return b"".join(o.data for o in recording.capture.output if o.host == host).decode()


def command(*words, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "stretta", "lab", *words],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "80"}, **kwargs,
    )  # fmt: skip


@needs_strace
def test_a_conversation_is_seen_whole(lab):
    seen = lab(python(ECHO), python(ASK, "10.0.0.2"), wire=WireOptions(delay=("20ms",)))
    assert (seen.status, seen.lost) == (0, 0)
    assert printed(seen, "client") == "ciao 10.0.0.2\n"
    timeline = seen.timeline
    kinds = {(link.kind, type(timeline.events[link.source])) for link in timeline.links}
    assert {("sent", Call), ("carried", Call), ("returned", Frame), ("delivered", Frame)} <= kinds
    connect = next(e for e in events(seen, Call) if e.name == "connect")
    assert connect.duration > 40e6  # one round trip
    assert not [f for f in events(seen, Frame) if f.packet.protocol == "arp"]
    states = [e.state for e in events(seen, State) if e.host == "client"]
    assert states[:2] == ["SYN_SENT", "ESTABLISHED"]
    for link in timeline.links:
        source, target = timeline.events[link.source], timeline.events[link.target]
        if link.kind in ("sent", "carried"):
            assert source.at <= target.at
        if link.kind in ("returned", "delivered", "ended", "woke"):
            assert source.arrived <= target.end


def test_ipv6_names_and_segments_alone(lab):
    seen = lab(
        python(ECHO.replace("(('', 12000))", "(('::', 12000), family=socket.AF_INET6)")),
        python(ASK, "fd00::2"), calls=False,
    )  # fmt: skip
    assert printed(seen, "client") == "ciao fd00::2\n"
    assert not events(seen, Call)
    assert {f.flow.responder.address for f in events(seen, Frame) if f.flow} == {"fd00::2"}
    assert printed(lab(python(ECHO), python(ASK, "server"), calls=False), "client").split() == [
        "ciao", "10.0.0.2",
    ]  # fmt: skip


def test_a_dropped_syn_ack_is_sent_again_after_a_second(lab):
    seen = lab(
        python(ECHO), python(ASK, "10.0.0.2"), wire=WireOptions(drop=("syn-ack:1",)), calls=False
    )
    frames = events(seen, Frame)
    lost, again, *_ = [f for f in frames if f.packet.flag_names == "SYN ACK"]
    assert (lost.arrivals, again.retransmission_of) == ((), lost.id)
    assert 0.9e9 < again.at - lost.at < 1.4e9
    (fault,) = events(seen, Fault)
    assert (fault.effect, fault.option, fault.frame) == ("lost", "--drop syn-ack:1", lost.id)


def test_the_same_seed_gives_the_same_fates(lab):
    client = python(
        "import socket\nc = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for n in range(60): c.sendto(b'%d' % n, ('10.0.0.2', 12000))"
    )
    server = python(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 12000))\n"
        "while True: s.recv(9)"
    )
    wire = WireOptions(loss=("30%",), duplicate=("10%",), corrupt=("10%",))

    def fates(seed):
        seen = lab(server, client, wire=wire, seed=seed, calls=False)
        return [
            [arrival.corrupted for arrival in f.arrivals]
            for f in events(seen, Frame)
            if f.packet.protocol == "udp"
        ]

    one = fates(5)
    assert len(one) == 60
    assert one == fates(5)
    assert [] in one
    assert one != fates(6)


def test_nothing_of_the_machine_is_reached_or_seen(lab):
    look = "import os, socket\nprint(sorted(n for _, n in socket.if_nameindex()), os.getpid() < 99)"
    assert printed(lab(None, python(look), calls=False), "client") == "['eth0', 'lo'] True\n"


def test_statuses_and_a_server_that_ends_or_never_listens(lab):
    assert lab(None, ["sh", "-c", "exit 3"], calls=False).status == 3
    with pytest.raises(StrettaError, match="ended before it listened"):
        lab("exit 4", "true", calls=False)
    with pytest.raises(TimedOut, match=r"did not listen within 0\.2 s"):
        lab(["sleep", "60"], "true", calls=False, lab=LabOptions(ready_timeout=0.2))
    with pytest.raises(StrettaError, match="could not start"):
        lab(None, ["/no/such/program"], calls=False)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind(lab, how):
    word = f"8642.{os.getpid()}{int(how)}"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "stretta", "lab", "run", "--no-calls", "--ready-timeout", "0",
            "--server", f"sleep {word}",
            "--client", f"setsid sleep {word} & echo ready; sleep {word}",
        ],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert "ready" in process.stderr.readline()
        until(lambda: len(processes_with(word)) > 3)
        process.send_signal(how)
        process.stderr.close()
        assert process.wait(PATIENCE) == (-how if how == signal.SIGKILL else 128 + how)
        until(lambda: not processes_with(word))
    finally:
        process.kill()


def test_an_interrupt_before_the_server_listens_is_no_failure_of_it(lab):
    process = subprocess.Popen(
        [
            sys.executable, "-m", "stretta", "lab", "run", "--no-calls",
            "--server", "echo ready; exec sleep 60", "--client", "echo never",
        ],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert "ready" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "ended before" not in said
    assert "never" not in said


def test_a_lab_whose_inside_is_killed_says_what_to_do(lab):
    process = subprocess.Popen(
        [
            sys.executable, "-m", "stretta", "lab", "run", "--no-calls",
            "--client", "echo ready; exec sleep 60",
        ],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert "ready" in process.stderr.readline()
    (inside,) = children_of(process.pid)
    os.kill(inside, signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "the lab broke off: the process that forwards frames was ended from outside" in said
    assert "out of memory" in said


def test_what_the_inside_failed_of_is_said():
    error = failure_error(Failed(Stage.INTERNAL, 0, "ValueError: x"))
    assert "ValueError: x" in str(error)
    assert "please report it" in str(error)


def test_files_are_looked_at_before_the_run(tmp_path):
    for name in ("--json", "--pcapng", "--mermaid"):
        done = command("run", "--client", "echo it ran", "--no-calls", name, "/nonexistent/x")
        assert done.returncode == 1
        assert "cannot write /nonexistent/x: no such file" in done.stderr
        assert "it ran" not in done.stderr


def test_an_interpreter_out_of_reach_is_named(lab, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy("/bin/sh", home / "python3")
    home.chmod(0)
    text = (
        "import os, sys\nfrom stretta.errors import StrettaError\n"
        "from stretta.lab import record\n"
        f"sys.executable = {str(home / 'python3')!r}\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: record(None, ['true'], calls=False)\nexcept StrettaError as e: print(e)\n"
    )
    done = subprocess.run(python(text), capture_output=True, text=True, check=False, timeout=60)
    home.chmod(0o700)
    assert "cannot make a lab: its Python, " in done.stdout, done.stderr
    assert "may not be entered by this user" in done.stdout


def test_a_forbidden_namespace_is_explained(lab):
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" -m stretta lab run handshake'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, sys.executable],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot make a lab: no user namespace is allowed" in done.stderr
    assert "sysctl -w user.max_user_namespaces" in done.stderr
    assert "Traceback" not in done.stderr


@needs_strace
def test_scenarios_do_what_they_promise(lab):
    promised = {
        "lost-datagram": "udp-repeated",
        "partial-send": "partial-send",
        "unread-data": "unread-data",
    }
    for name, rule in promised.items():
        scenario = SCENARIOS[name]
        seen = lab(scenario.server, scenario.client, wire=scenario.wire)
        assert rule in {note.rule for note in seen.timeline.notes}, name
        assert seen.lost == 0


@needs_strace
def test_the_command_draws_and_writes(lab, tmp_path):
    done = command(
        "run", "handshake", "--json", tmp_path / "t.json", "--pcapng", tmp_path / "t.pcapng",
        "--mermaid", tmp_path / "t.mmd",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"┌ connect.*SYN_SENT│─SYN─", done.stdout)
    assert "client │ received 4 bytes: CIAO" in done.stderr
    assert json.loads((tmp_path / "t.json").read_text())["version"] == VERSION
    assert (tmp_path / "t.pcapng").read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    again = command("draw", tmp_path / "t.json")
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run"], "nothing to run"),
        (["run", "nonsense"], "there is no scenario 'nonsense'"),
        (["run", "--", "--rst"], "there is no scenario '--rst'"),
        (["run", "udp", "--client", "x"], "a scenario has its own programs"),
        (["run", "udp", "--drop", "sny:1"], "did you mean syn?"),
        (["run", "udp", "--until", "x"], "a number is missing"),
        (["draw", "/etc/hostname"], "is not JSON"),
    ],
)
def test_mistakes_are_explained(words, says):
    done = command(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_same_retransmissions(lab, tmp_path):
    client = python("import socket\nc = socket.create_connection(('10.0.0.2', 12000))\n"
                    "c.sendall(bytes(60000)); c.shutdown(1)\n"
                    "while c.recv(65536): pass")  # fmt: skip
    wire = WireOptions(delay=("5ms",), loss=("6%",), reorder=("3%",), duplicate=("3%",))
    seen = lab(python(ECHO), client, wire=wire, seed=11, calls=False)
    file = tmp_path / "all.pcapng"
    file.write_bytes(seen.to_pcapng())
    home = {**os.environ, "HOME": str(tmp_path)}
    for host in ("client", "server"):
        one = tmp_path / f"{host}.pcapng"
        pick = f"frame.interface_name == {host}"
        subprocess.run(
            ["tshark", "-r", file, "-Y", pick, "-w", one], check=True, capture_output=True, env=home
        )
        address = "10.0.0.1" if host == "client" else "10.0.0.2"
        # what it takes for disorder can be none where the segments leave
        again = "tcp.analysis.retransmission || tcp.analysis.out_of_order"
        done = subprocess.run(
            ["tshark", "-r", one, "-Y", f"({again}) && ip.src == {address}", "-T", "fields",
             "-e", "frame.time_epoch"],
            check=True, capture_output=True, text=True, env=home,
        )  # fmt: skip
        theirs = [round(float(t.partition(".")[2]) / 1000) for t in done.stdout.split()]
        ours = [
            round((seen.timeline.start + f.at) % 10**9 / 1000)
            for f in events(seen, Frame)
            if f.host == host and f.retransmission_of is not None
        ]
        assert sorted(ours) == sorted(theirs), (host, seen.lost)
        assert ours or host == "server"
