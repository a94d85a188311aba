"""The host's side: tokens, identity, ports, the splice into the sandbox and the way out to the proxy."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host.envd.harness import DEADLINE, MAIN, ME, SECRET, TOKEN, Daemon, UnixConnection, until


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE)
        yield server


def test_before_init_only_health_answers(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon()
    assert daemon.request("GET", "/health")[0] == 204
    for method, path in (("GET", "/envs"), ("GET", "/files"), ("POST", "/process.Process/List")):
        assert daemon.request(method, path)[0] == 503
    assert daemon.init() == 204
    assert daemon.rpc("process.Process/List", {}) == (200, {"processes": []})


def test_a_second_init_replaces_the_first(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon()
    daemon.init(access_token="first", envs={"A": "1"}, default_workdir="/tmp")
    assert json.loads(daemon.request("GET", "/envs", x_access_token="first")[1]) == {"A": "1"}
    daemon.init(access_token="second")
    assert daemon.request("GET", "/envs", x_access_token="first")[0] == 401
    assert daemon.request("GET", "/envs", x_access_token="second")[:2] == (200, b"{}")


def test_the_working_directory_of_init_is_where_paths_start(
    start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = start_daemon()
    daemon.init(default_workdir=str(tmp_path))
    stream = daemon.start("pwd")
    stream.pid()
    assert stream.output() == f"{tmp_path}\n".encode()
    (tmp_path / "f").write_text("here")
    assert daemon.request("GET", "/files?path=f", x_access_token=TOKEN)[1] == b"here"


def test_a_sandbox_without_a_token_is_open(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon()
    daemon.init(access_token=None)
    assert daemon.request("GET", "/envs")[0] == 200
    assert daemon.request("GET", f"/files?path={daemon.home}/x")[0] == 404


@pytest.mark.parametrize("path", ["/envs", "/metrics", "/process.Process/List", "/process.Process/Start", "/nowhere"])
@pytest.mark.parametrize("token", [None, "", "wrong", "t\xf6ken"])
def test_every_route_wants_the_token(daemon: Daemon, path: str, token: str | None) -> None:
    headers = {} if token is None else {"x_access_token": token}
    status, body, _ = daemon.request("GET" if path in ("/envs", "/metrics") else "POST", path, b"{}", **headers)
    assert (status, json.loads(body)["code"]) == (401, 401)
    assert "valid access token" in json.loads(body)["message"]


@pytest.mark.parametrize(
    "route", ["POST /control/init", "GET /control/ports", "GET /control/connect?port=1", "POST /control/sync"]
)
@pytest.mark.parametrize("secret", [None, "wrong", TOKEN])
def test_control_wants_the_secret_whatever_else_is_shown(daemon: Daemon, route: str, secret: str | None) -> None:
    method, path = route.split()
    headers = {"x_access_token": TOKEN} | ({} if secret is None else {"x_control_token": secret})
    assert daemon.request(method, path, b"{}", **headers)[0] == 401


@pytest.mark.parametrize("body", ["", "7", "{}", '{"sandbox_id": "x", "envs": 7}'])
def test_a_malformed_init_changes_nothing(daemon: Daemon, body: str) -> None:
    status, answer, _ = daemon.request("POST", "/control/init", body, x_control_token=SECRET)
    assert status == 400
    assert "init needs an object" in json.loads(answer)["message"]
    assert daemon.request("GET", "/envs", x_access_token=TOKEN)[0] == 200


def test_unknown_routes_and_methods_are_told(daemon: Daemon) -> None:
    assert daemon.request("GET", "/nowhere", x_access_token=TOKEN)[0] == 404
    assert daemon.request("DELETE", "/files", x_access_token=TOKEN)[0] == 405
    assert daemon.request("POST", "/process.Process/Nonsense", "{}", x_access_token=TOKEN)[0] == 404
    assert daemon.request("GET", "/control/nonsense", x_control_token=SECRET)[0] == 404


def test_listening_ports_are_found_with_their_owner(daemon: Daemon, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        _, body, _ = daemon.request("GET", "/control/ports", x_control_token=SECRET)
        found = {one["port"]: one for one in json.loads(body)}
        assert found[port] == {"port": port, "uid": os.getuid(), "pid": os.getpid()}
        assert six.getsockname()[1] in found


def test_a_splice_carries_bytes_both_ways_and_half_closes(daemon: Daemon, listener: socket.socket) -> None:
    def echo_when_done() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(DEADLINE)
            peer.sendall(b"hello")
            data = b"".join(iter(lambda: peer.recv(65536), b""))
            peer.sendall(data[::-1])

    thread = threading.Thread(target=echo_when_done)
    thread.start()
    with contextlib.closing(_splice(daemon, listener.getsockname()[1])) as link:
        assert _head(link).startswith(b"HTTP/1.1 101 ")
        assert _exactly(link, 5) == b"hello"
        sent = os.urandom(3_000_000)
        link.sendall(sent)
        link.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: link.recv(65536), b"")) == sent[::-1]
    thread.join(DEADLINE)


def _splice(daemon: Daemon, port: int) -> socket.socket:
    link = UnixConnection(daemon.socket)
    link.connect()
    link.sock.sendall(
        f"GET /control/connect?port={port} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"X-Control-Token: {SECRET}\r\n\r\n".encode()
    )
    taken: socket.socket = link.sock
    return taken


def _head(link: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _exactly(link, 1)
    return head


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        assert piece, "the connection ended early"
        data += piece
    return data


def test_a_splice_to_nobody_is_a_502(daemon: Daemon, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with contextlib.closing(_splice(daemon, port)) as link:
        assert _head(link).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("port", ["", "0", "65536", "http", "-1"])
def test_a_splice_needs_a_port(daemon: Daemon, port: str) -> None:
    assert daemon.request("GET", f"/control/connect?port={port}", x_control_token=SECRET, upgrade="tcp")[0] == 400


def test_a_splice_ends_with_its_server(daemon: Daemon, listener: socket.socket) -> None:
    with contextlib.closing(_splice(daemon, listener.getsockname()[1])) as link:
        _head(link)
        peer, _ = listener.accept()
        peer.close()
        assert link.recv(10) == b""


def test_the_forwarder_leads_to_the_proxy_socket(
    start_daemon: Callable[..., Daemon], tmp_path: Path, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    listener.close()
    egress = str(tmp_path / "egress.sock")
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.bind(egress)
        proxy.listen()
        proxy.settimeout(DEADLINE)
        daemon = start_daemon("--egress", egress, "--forward-port", str(port))
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as program:
            program.sendall(b"CONNECT")
            peer, _ = proxy.accept()
            with peer:
                assert _exactly(peer, 7) == b"CONNECT"
                peer.sendall(b"answer")
            assert b"".join(iter(lambda: program.recv(100), b"")) == b"answer"
    _, body, _ = daemon.request("GET", "/control/ports", x_control_token=SECRET)
    assert port not in [one["port"] for one in json.loads(body)]
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as orphan:
        assert orphan.recv(10) == b"", "without a proxy the connection ends"


def test_sync_answers(daemon: Daemon) -> None:
    assert daemon.request("POST", "/control/sync", x_control_token=SECRET)[0] == 204


def test_metrics_have_their_figures(daemon: Daemon) -> None:
    first = json.loads(daemon.request("GET", "/metrics", x_access_token=TOKEN)[1])
    assert set(first) == {"ts", "cpu_count", "cpu_used_pct", "mem_used", "mem_total", "disk_used", "disk_total"}
    assert 0 < first["mem_used"] < first["mem_total"] * 2
    assert 0 < first["disk_used"] < first["disk_total"]


def test_a_daemon_without_a_secret_says_so_and_ends(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-I", str(MAIN), "--socket", str(tmp_path / "s")],
        input=b"\n",
        capture_output=True,
        timeout=DEADLINE,
    )
    assert result.returncode == 2
    assert b"no control secret" in result.stderr


def test_the_secret_is_in_no_place_a_command_can_read(daemon: Daemon) -> None:
    pid = daemon.process.pid
    for name in ("environ", "cmdline"):
        assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path(os.devnull)


def test_a_stopped_daemon_takes_its_processes_along(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon()
    daemon.init(default_user=ME)
    pid = daemon.start("sleep 74").pid()
    assert daemon.stop() == ""
    assert daemon.process.returncode == 0
    until(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone")
