"""A folder that whoever runs in the sandbox can read and not change."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.host.hosts import HostProcess

CLONE = "/home/user/project"
MAKE = f"""
git init -q {CLONE} && cd {CLONE} && echo one > a.txt && git add . && touch new.txt &&
git -c user.name=T -c user.email=t@example.com commit -qm First
"""
# Each would change the clone, or what is found in its place.
ATTEMPTS = (
    f"echo two >> {CLONE}/a.txt",
    f"chmod u+w {CLONE} {CLONE}/a.txt && echo two > {CLONE}/a.txt",
    f"rm -rf {CLONE}",
    f"mv {CLONE} {CLONE}-old && mkdir {CLONE}",
    f"touch {CLONE}/b.txt",
    f"cd {CLONE} && git checkout -q -b other && git commit -q --allow-empty -m x",
    f"mount -o remount,rw {CLONE}",
    f"umount -l {CLONE}",
    f"unshare -Ur mount -o remount,bind,rw {CLONE}",
    f"cp --remove-destination /etc/hostname {CLONE}/a.txt",
    f"ln {CLONE}/a.txt /home/user/link && echo two > /home/user/link",
    f"echo two > /proc/1/root{CLONE}/a.txt",
)


@pytest.fixture(scope="module")
def protected(host: HostProcess) -> Any:
    """A sandbox with a clone that may not be changed."""
    made = host.create()
    made.commands.run(MAKE)
    assert host.call("POST", f"/sandboxes/{made.sandbox_id}/protect", {"path": CLONE}) == (204, None)
    yield made
    made.kill()


def state(sandbox: Any) -> str:
    """All that there is in the clone."""
    listed = f"cd {CLONE} && cat a.txt && ls -A && git log --format=%s --all && git status --porcelain && stat -c %i ."
    return str(sandbox.commands.run(listed).stdout)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_inside_changes_a_protected_clone(protected: Any, attempt: str) -> None:
    before = state(protected)
    assert before.startswith("one\n")
    protected.commands.run(f"{{ {attempt}; }} 2>&1 || true")
    assert state(protected) == before


def test_it_stays_protected_when_asked_again_and_after_a_pause(host: HostProcess, protected: Any) -> None:
    assert host.call("POST", f"/sandboxes/{protected.sandbox_id}/protect", {"path": CLONE})[0] == 204
    protected.pause()
    assert host.call("POST", f"/sandboxes/{protected.sandbox_id}/protect", {"path": CLONE})[0] == 409
    protected.connect()
    refused = protected.commands.run(f"touch {CLONE}/c.txt 2>&1 || true")
    assert "Read-only file system" in refused.stdout


def test_the_rest_of_the_home_is_as_before(protected: Any) -> None:
    protected.commands.run("mkdir -p ~/.cache/x && cp -r ~/project /tmp/copy && touch /tmp/copy/d")
    assert protected.commands.run("ls /tmp/copy").stdout.split() == ["a.txt", "d", "new.txt"]


@pytest.mark.parametrize("path", [None, "/etc", "/home/user", "/home/user/../x", "/home/user/nothing-there"])
def test_only_a_folder_below_the_home_can_be_protected(host: HostProcess, protected: Any, path: Any) -> None:
    status, said = host.call("POST", f"/sandboxes/{protected.sandbox_id}/protect", {"path": path})
    assert status == (500 if path == "/home/user/nothing-there" else 400)
    assert said["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_folder_is_lent_and_only_read(tmp_path: Path) -> None:
    folder = tmp_path / "lend" / "objects"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("one\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "lend" / "out").symlink_to(tmp_path / "other")
    host = HostProcess(tmp_path / "state", "--pool", "0", "--kill-on-exit", "--lend", str(tmp_path / "lend")).start()
    try:
        made, at = host.create(), "/home/user/.courier/remote"
        made.commands.run(f"mkdir -p {at}")
        for source in (tmp_path / "other", tmp_path / "lend" / "out", tmp_path / "lend", folder / "a.txt", None):
            asked = {"path": at, "source": str(source) if source else source}
            assert host.call("POST", f"/sandboxes/{made.sandbox_id}/lend", asked)[0] == 501
        for _ in range(2):
            asked = {"path": at, "source": str(folder)}
            assert host.call("POST", f"/sandboxes/{made.sandbox_id}/lend", asked) == (204, None)
        (folder / "b.txt").write_text("two\n")
        tried = f"touch {at}/c; rm -rf {at}; umount {at}; mount -o remount,rw {at}; echo x > {at}/a.txt; cat {at}/*.txt"
        assert made.commands.run(f"{{ {tried}; }} 2>/dev/null").stdout == "one\ntwo\n"
        assert made.commands.run(f"grep -c {at} /proc/self/mounts").stdout == "1\n"
    finally:
        host.stop()
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt"]


def test_a_host_that_lends_nothing_says_so(host: HostProcess, protected: Any, tmp_path: Path) -> None:
    asked = {"path": "/home/user/x", "source": str(tmp_path)}
    assert host.call("POST", f"/sandboxes/{protected.sandbox_id}/lend", asked)[0] == 501
