"""Folders and entries through the SDK."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from e2b import FileNotFoundException, InvalidArgumentException, Sandbox
from e2b.sandbox.filesystem.filesystem import FileType

from tests.host.envd.harness import ME, Daemon


@pytest.fixture
def folder(daemon: Daemon, tmp_path: Path) -> Path:
    folder = daemon.home / tmp_path.name
    folder.mkdir()
    return folder


def test_an_entry_tells_all_of_a_file(sandbox: Sandbox, folder: Path) -> None:
    file = folder / "f.txt"
    file.write_text("hello")
    file.chmod(0o640)
    os.utime(file, ns=(0, 1_700_000_000_123_456_000))
    info = sandbox.files.get_info(str(file))
    assert (info.name, info.path, info.type, info.size) == ("f.txt", str(file), FileType.FILE, 5)
    assert (info.mode, info.permissions, info.owner, info.group) == (0o640, "-rw-r-----", ME, file.group())
    assert info.modified_time == datetime.fromtimestamp(1_700_000_000.123456, UTC)
    assert info.symlink_target is None
    assert sandbox.files.get_info(str(folder)).type == FileType.DIR


def test_links_tell_their_absolute_target(sandbox: Sandbox, folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    (folder / "broken").symlink_to("nowhere")
    info = sandbox.files.get_info(f"{folder}/link")
    assert (info.type, info.symlink_target, info.permissions[0]) == (FileType.SYMLINK, f"{folder}/real", "L")
    assert [entry.name for entry in sandbox.files.list(str(folder))] == ["broken", "link", "real"]


def test_a_list_goes_down_to_its_depth(sandbox: Sandbox, folder: Path) -> None:
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/f").write_text("")
    (folder / "loop").symlink_to(folder)

    def listed(depth: int) -> list[str]:
        return [entry.path.removeprefix(f"{folder}/") for entry in sandbox.files.list(str(folder), depth=depth)]

    assert listed(1) == ["a", "loop"]
    assert listed(2) == ["a", "a/b", "a/f", "loop"]
    assert listed(9) == ["a", "a/b", "a/b/c", "a/f", "loop"]
    assert [entry.path for entry in sandbox.files.list(f"{folder}/loop")] == [f"{folder}/loop/a", f"{folder}/loop/loop"]


def test_lists_of_what_is_no_folder_are_refused(sandbox: Sandbox, folder: Path) -> None:
    (folder / "f").write_text("")
    with pytest.raises(FileNotFoundException, match="cannot list"):
        sandbox.files.list(f"{folder}/missing")
    with pytest.raises(InvalidArgumentException, match="not a directory"):
        sandbox.files.list(f"{folder}/f")


def test_a_name_that_is_not_utf8_does_not_spoil_the_list(sandbox: Sandbox, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff")).write_text("")
    assert [entry.name for entry in sandbox.files.list(str(folder))] == ["bad\ufffd"]


def test_folders_are_made_with_their_parents(sandbox: Sandbox, folder: Path) -> None:
    assert sandbox.files.make_dir(f"{folder}/x/y/z") is True
    assert sandbox.files.make_dir(f"{folder}/x/y/z") is False
    assert stat.S_IMODE((folder / "x/y").stat().st_mode) == 0o755
    (folder / "f").write_text("")
    for path in (f"{folder}/f", f"{folder}/f/below"):
        with pytest.raises(InvalidArgumentException, match="cannot make"):
            sandbox.files.make_dir(path)


def test_a_move_makes_parents_and_overwrites(sandbox: Sandbox, folder: Path) -> None:
    (folder / "a").write_text("1")
    (folder / "old").write_text("0")
    assert sandbox.files.rename(f"{folder}/a", f"{folder}/new/b").path == f"{folder}/new/b"
    sandbox.files.rename(f"{folder}/new/b", f"{folder}/old")
    assert (folder / "old").read_text() == "1"
    with pytest.raises(FileNotFoundException, match="cannot move"):
        sandbox.files.rename(f"{folder}/missing", f"{folder}/x")


def test_a_move_crosses_file_systems(sandbox: Sandbox, folder: Path) -> None:
    other = Path("/dev/shm") / f"envd-{os.getpid()}"
    assert other.parent.stat().st_dev != folder.stat().st_dev
    (folder / "dir").mkdir()
    (folder / "dir/f").write_text("far")
    try:
        sandbox.files.rename(f"{folder}/dir", str(other))
        assert (other / "f").read_text() == "far"
    finally:
        sandbox.files.remove(str(other))
    assert not other.exists()


def test_removing_takes_all_below_and_no_link_target(sandbox: Sandbox, folder: Path) -> None:
    (folder / "a/b").mkdir(parents=True)
    (folder / "kept").mkdir()
    (folder / "a/link").symlink_to(folder / "kept")
    (folder / "top").symlink_to(folder / "kept")
    sandbox.files.remove(f"{folder}/a")
    sandbox.files.remove(f"{folder}/top")
    sandbox.files.remove(f"{folder}/never-there")
    assert [path.name for path in folder.iterdir()] == ["kept"]


def test_exists_answers_both_ways(sandbox: Sandbox, folder: Path) -> None:
    assert sandbox.files.exists(str(folder)) is True
    assert sandbox.files.exists(f"{folder}/no") is False
