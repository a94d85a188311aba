"""HTTP/1.1 itself: what a router or a hostile client may send."""

import contextlib

import pytest

from tests.host.envd.harness import TOKEN, Daemon


def talk(daemon: Daemon, *pieces: bytes) -> bytes:
    """Send pieces one by one, then read until the daemon closes, which it may do before it has read all."""
    answer = b""
    with contextlib.closing(daemon.connection()) as link:
        link.connect()
        with contextlib.suppress(BrokenPipeError):
            for piece in pieces:
                link.sock.sendall(piece)
        with contextlib.suppress(ConnectionResetError):
            while piece := link.sock.recv(65536):
                answer += piece
    return answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 505),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nfolded: a\r\n b: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nname : x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nlong: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_a_bad_head_is_answered_and_ends_the_connection(daemon: Daemon, head: bytes, status: int) -> None:
    answer = talk(daemon, head)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in answer


def test_a_connection_is_kept_and_requests_may_come_in_pieces(daemon: Daemon) -> None:
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert talk(daemon, health[:7], health[7:], health, last).count(b"HTTP/1.1 204 No Content") == 3


def test_a_refused_body_is_read_over_and_the_connection_kept(daemon: Daemon) -> None:
    post = b"POST /nowhere HTTP/1.1\r\nContent-Length: 100000\r\nX-Access-Token: no\r\n\r\n" + b"x" * 100_000
    answer = talk(daemon, post, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.count(b"HTTP/1.1 204 ") == 1


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-5\r\n", b"0x3\r\n", b"3\r\nabcdef\r\n", b"1" * 150_000])
def test_a_bad_chunk_is_refused(daemon: Daemon, chunk: bytes) -> None:
    head = (
        b"POST /files?path=chunk HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n"
        b"Connection: close\r\nX-Access-Token: " + TOKEN.encode() + b"\r\n\r\n"
    )
    assert talk(daemon, head, chunk).startswith(b"HTTP/1.1 400 ")


def test_chunks_with_extensions_and_trailers_are_read(daemon: Daemon) -> None:
    head = (
        b"POST /files?path=chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n"
        b"Connection: close\r\nX-Access-Token: " + TOKEN.encode() + b"\r\n\r\n"
    )
    assert b" 200 OK" in talk(daemon, head, b"3;a=b\r\nabc\r\n", b"A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n")
    assert (daemon.home / "chunked").read_bytes() == b"abc0123456789"


def test_expect_continue_is_honoured(daemon: Daemon) -> None:
    head = (
        b"POST /files?path=expected HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/octet-stream\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\nX-Access-Token: " + TOKEN.encode() + b"\r\n\r\n"
    )
    answer = talk(daemon, head, b"ok")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


def test_an_upload_that_breaks_off_does_not_disturb(daemon: Daemon) -> None:
    head = (
        b"POST /files?path=half HTTP/1.1\r\nContent-Length: 1000000\r\nContent-Type: application/octet-stream\r\n"
        b"X-Access-Token: " + TOKEN.encode() + b"\r\n\r\n"
    )
    with contextlib.closing(daemon.connection()) as link:
        link.connect()
        link.sock.sendall(head + b"x" * 1000)
    assert daemon.request("GET", "/health")[0] == 204


def test_what_follows_a_bad_chunk_is_not_waited_for(daemon: Daemon) -> None:
    post = b"POST /nowhere HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Access-Token: no\r\n\r\n"
    assert talk(daemon, post, b"zz\r\n").startswith(b"HTTP/1.1 401 ")
