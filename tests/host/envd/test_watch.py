"""Watching folders: by polling (sync SDK) and as a stream (async SDK)."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from e2b import AsyncSandbox, FileNotFoundException, InvalidArgumentException, NotFoundException, Sandbox
from e2b.sandbox.filesystem.watch_handle import FilesystemEvent
from e2b.sandbox_sync.filesystem.watch_handle import WatchHandle

from tests.host.envd.harness import DEADLINE, Daemon, until


@pytest.fixture
def folder(daemon: Daemon, tmp_path: Path) -> Path:
    folder = daemon.home / tmp_path.name
    folder.mkdir()
    return folder


def inotify_descriptors(daemon: Daemon) -> int:
    found = 0
    for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += "inotify" in str(link.readlink())
    return found


def told(handle: WatchHandle) -> list[tuple[str, str]]:
    """What happened up to now; the daemon empties the kernel's queue before it answers."""
    return [(event.name, event.type.value) for event in handle.get_new_events()]


@pytest.mark.parametrize("octets", [True, False])
def test_an_upload_is_create_chmod_write(sandbox: Sandbox, folder: Path, octets: bool) -> None:
    handle = sandbox.files.watch_dir(str(folder))
    sandbox.files.write(f"{folder}/f", "x" * 50_000, use_octet_stream=octets, metadata={"a": "b", "c": "d"})
    assert told(handle) == [("f", "create"), ("f", "chmod"), ("f", "write")]
    assert told(handle) == []
    handle.stop()


def test_every_kind_of_event_is_told_at_once(sandbox: Sandbox, folder: Path) -> None:
    handle = sandbox.files.watch_dir(str(folder))
    file = folder / "f"
    file.write_text("x")
    file.chmod(0o600)
    file.rename(folder / "g")
    (folder / "g").unlink()
    assert told(handle) == [
        ("f", "create"),
        ("f", "write"),
        ("f", "chmod"),
        ("f", "rename"),
        ("g", "create"),
        ("g", "remove"),
    ]


def test_only_a_recursive_watch_sees_below(sandbox: Sandbox, folder: Path) -> None:
    (folder / "old").mkdir()
    flat = sandbox.files.watch_dir(str(folder))
    deep = sandbox.files.watch_dir(str(folder), recursive=True)
    (folder / "old/f").touch()
    os.utime(folder / "old/f")
    assert told(flat) == []
    assert told(deep)[0] == ("old/f", "create")


def test_folders_made_later_are_followed_and_told_once(sandbox: Sandbox, folder: Path) -> None:
    handle = sandbox.files.watch_dir(str(folder), recursive=True)
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/f").write_text("x")
    created = [name for name, kind in told(handle) if kind == "create"]
    assert sorted(created) == ["a", "a/b", "a/b/c", "a/b/f"]
    (folder / "a/b/c/g").touch()
    (folder / "a/b/f").unlink()
    (folder / "a/b/f").touch()
    later = told(handle)
    assert later[0] == ("a/b/c/g", "create")
    assert [event for event in later if event[0] == "a/b/f"][:2] == [("a/b/f", "remove"), ("a/b/f", "create")]


def test_a_folder_moved_in_is_followed(sandbox: Sandbox, folder: Path, daemon: Daemon) -> None:
    outside = daemon.home / f"{folder.name}-outside"
    (outside / "sub").mkdir(parents=True)
    handle = sandbox.files.watch_dir(str(folder), recursive=True)
    outside.rename(folder / "in")
    told(handle)
    (folder / "in/sub/f").touch()
    assert ("in/sub/f", "create") in told(handle)


def test_the_folder_itself_going_is_told(sandbox: Sandbox, folder: Path) -> None:
    handle = sandbox.files.watch_dir(str(folder))
    folder.rmdir()
    assert told(handle) == [(".", "remove")]


def test_entries_are_included_on_request(sandbox: Sandbox, folder: Path) -> None:
    handle = sandbox.files.watch_dir(str(folder), include_entry=True)
    (folder / "f").write_text("four")
    (folder / "gone").touch()
    (folder / "gone").unlink()
    events = handle.get_new_events()
    entries = {event.name: event.entry for event in events}
    assert entries["f"] is not None
    assert entries["f"].size == 4
    assert entries["gone"] is None


def test_what_cannot_be_watched_is_refused(sandbox: Sandbox, folder: Path) -> None:
    (folder / "f").write_text("")
    with pytest.raises(FileNotFoundException, match="not found"):
        sandbox.files.watch_dir(f"{folder}/missing")
    with pytest.raises(InvalidArgumentException, match="is not a directory"):
        sandbox.files.watch_dir(f"{folder}/f")


def test_a_stopped_watcher_is_gone(sandbox: Sandbox, daemon: Daemon, folder: Path) -> None:
    before = inotify_descriptors(daemon)
    handle = sandbox.files.watch_dir(str(folder))
    assert inotify_descriptors(daemon) == before + 1
    handle.stop()
    assert inotify_descriptors(daemon) == before
    with pytest.raises(NotFoundException, match="watcher with id"):
        handle.stop()


def test_events_nobody_fetches_end_the_watcher_with_a_word(start_daemon: Callable[..., Daemon], folder: Path) -> None:
    daemon = start_daemon(prelude="watch_rpc.PENDING_LIMIT = 20")
    daemon.init()
    _, created = daemon.rpc("filesystem.Filesystem/CreateWatcher", {"path": str(folder)})
    for n in range(60):
        (folder / str(n)).touch()
    status, answer = daemon.rpc("filesystem.Filesystem/GetWatcherEvents", created)
    assert (status, answer["code"]) == (500, "data_loss")


def test_a_watch_that_times_out_says_so(daemon: Daemon, folder: Path) -> None:
    stream = daemon.stream(
        "filesystem.Filesystem/WatchDir", {"path": str(folder)}, connect_timeout_ms="200", keepalive_ping_interval="1"
    )
    assert list(stream) == [{"start": {}}]
    assert stream.error is not None
    assert stream.error["code"] == "deadline_exceeded"


def test_a_leaving_watcher_frees_its_descriptor(daemon: Daemon, folder: Path) -> None:
    before = inotify_descriptors(daemon)
    stream = daemon.stream("filesystem.Filesystem/WatchDir", {"path": str(folder)})
    assert stream.next() == {"start": {}}
    assert inotify_descriptors(daemon) == before + 1
    stream.close()
    until(lambda: inotify_descriptors(daemon) == before, "the descriptor is closed")


async def test_the_stream_tells_events_as_they_come(async_sandbox: AsyncSandbox, folder: Path) -> None:
    events: asyncio.Queue[FilesystemEvent] = asyncio.Queue()
    handle = await async_sandbox.files.watch_dir(str(folder), on_event=events.put_nowait, recursive=True)
    await async_sandbox.files.write(f"{folder}/new/f", "x")
    seen = []
    async with asyncio.timeout(DEADLINE):
        while ("new/f", "write") not in seen:
            event = await events.get()
            seen.append((event.name, event.type.value))
    assert seen[0] == ("new", "create")
    assert seen.count(("new/f", "create")) == 1
    await handle.stop()  # type: ignore[no-untyped-call]
