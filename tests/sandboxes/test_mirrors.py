"""A remote's copy on the portal: always as the remote is, fetched once for all, handed over to machines as it is."""

import fcntl
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.utils import timezone

from codecourier import git as portal_git
from codecourier.models import Project, ProviderKey
from sandboxes import e2b
from sandboxes.checkpoints.store import Store
from sandboxes.mirrors import fetch, mirror, shipping
from sandboxes.mirrors.mirror import Mirror
from sandboxes.mirrors.shipping import Shipment
from tests.githubserver.server import TOKEN, GitHub
from tests.sandboxes.repositories import commit, git, make
from tests.stack import wait_for


@pytest.fixture
def seed(tmp_path: Path, settings: LazySettings) -> Path:
    settings.STATE = tmp_path / "state"
    return make(tmp_path / "seed", a__txt="one\n")


def brought(copy: Mirror) -> mirror.Stand:
    """How it stands after a fetch that begins now."""
    now = timezone.now()

    def over() -> mirror.Stand | None:
        stand = copy.bring(now)
        return stand if stand.done or stand.failed else None

    return wait_for(over, "the fetch")


def test_the_copy_is_as_the_remote_is_now(project: Project, seed: Path):
    git(seed, "tag", "v1")
    git(seed, "tag", "-a", "v2", "-m", "Two")
    git(seed, "branch", "topic")
    copy = Mirror(project, str(seed))
    assert not copy.there
    assert brought(copy).done
    assert copy.there
    assert set(copy.refs()) == {"refs/heads/main", "refs/heads/topic", "refs/tags/v1", "refs/tags/v2"}
    commit(seed, "Second")
    git(seed, "branch", "-D", "topic")
    git(seed, "branch", "topic/deeper")
    git(seed, "checkout", "-q", "-b", "trunk")
    assert brought(copy).done
    refs = copy.refs()
    assert refs["refs/heads/main"] == git(seed, "rev-parse", "main")
    assert "refs/heads/topic/deeper" in refs
    assert "refs/heads/topic" not in refs
    assert copy.head == "ref: refs/heads/trunk\n"
    git(seed, "checkout", "-q", "--detach")
    commit(seed, "Nowhere")
    assert brought(copy).done
    assert copy.head.strip() == git(seed, "rev-parse", "HEAD")


def test_a_fetch_serves_all_who_came_before_it_began(project: Project, seed: Path):
    copy, before = Mirror(project, str(seed)), timezone.now() - timedelta(seconds=5)
    assert brought(copy).done
    commit(seed, "Second")
    assert copy.bring(before).done
    assert copy.refs()["refs/heads/main"] != git(seed, "rev-parse", "main")
    with copy.beside("lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not copy.bring(timezone.now()).done  # somebody else is at it: no second fetch is begun
        assert not mirror.begun[copy.path].poll()
    assert brought(copy).done
    assert copy.refs()["refs/heads/main"] == git(seed, "rev-parse", "main")


def test_packs_stay_few_but_not_while_a_machine_is_given_them(project: Project, seed: Path):
    copy = Mirror(project, str(seed))
    assert brought(copy).done
    for number in range(fetch.PACKS):
        commit(seed, f"Number {number}")
        git(copy.path, "fetch", "-q", str(seed), "+main:main")
    with copy.read():
        assert brought(copy).done
        assert len(copy.packs()) == 2 * (fetch.PACKS + 1)
    assert brought(copy).done
    assert 2 <= len(copy.packs()) <= 6
    assert all(file.exists() for file in copy.packs())
    assert git(copy.path, "rev-list", "--objects", "--count", "main") == str(fetch.PACKS + 3)


def test_an_empty_repository_is_no_fault(project: Project, seed: Path, tmp_path: Path):
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "empty.git")
    copy = Mirror(project, str(tmp_path / "empty.git"))
    assert brought(copy).done
    assert (copy.refs(), copy.packs(), copy.head) == ({}, [], "ref: refs/heads/main\n")


def test_why_there_is_none_is_said_and_it_is_tried_again_for_who_comes_later(
    project: Project, seed: Path, settings: LazySettings
):
    copy = Mirror(project, str(seed))
    hidden = seed.rename(seed.with_name("hidden"))
    assert "does not appear to be a git repository" in brought(copy).failed
    hidden.rename(seed)
    assert brought(copy).done
    settings.CHECKPOINT_BYTES = 10
    commit(seed, "Second")
    assert "larger than 0 MB" in brought(copy).failed
    settings.CHECKPOINT_BYTES = 2**30
    assert "larger" in brought(copy).failed  # not again on the same day


def test_objects_that_could_harm_a_reader_are_not_taken(project: Project, seed: Path):
    blob = git(seed, "hash-object", "-w", "a.txt")
    tree = portal_git.run(["mktree"], at=seed, given=f"100644 blob {blob}\t.GIT\n".encode()).decode().strip()
    git(seed, "update-ref", "refs/heads/evil", git(seed, "commit-tree", tree, "-m", "Evil"))
    copy = Mirror(project, str(seed))
    assert "hasDotgit" in brought(copy).failed
    assert copy.refs() == {}


def test_a_private_remote_is_read_with_the_key_that_is_left_nowhere(
    project: Project, seed: Path, hub: GitHub, settings: LazySettings
):
    settings.PROVIDER_URLS = {"github": hub.api}
    url = hub.repository("acme/shop", seed)
    copy = Mirror(project, url)
    assert "could not read Username" in brought(copy).failed
    ProviderKey.objects.create(project=project, provider="github", secret=TOKEN)
    assert brought(copy).done
    assert copy.refs() == {"refs/heads/main": git(seed, "rev-parse", "main")}
    files = [path for path in copy.path.parent.rglob("*") if path.is_file()]
    assert all(TOKEN.encode() not in path.read_bytes() for path in files)


def test_a_killed_fetch_is_begun_again(project: Project, seed: Path):
    copy = Mirror(project, str(seed))
    pack = copy.path / "objects" / "pack"
    pack.mkdir(parents=True)
    (pack / "tmp_pack_x").write_text("half")
    assert brought(copy).done
    assert not (pack / "tmp_pack_x").exists()


def test_the_portal_speaks_to_public_addresses_only(settings: LazySettings, monkeypatch: pytest.MonkeyPatch):
    assert mirror.guarded("http://127.0.0.1/x.git") == []  # a deployment for one person, on its own machine
    settings.ALLOW_LOCAL_REPOSITORIES = False
    known = {"inside.example.com": ["10.0.0.7"], "both.example.com": ["8.8.8.8", "::1"], "out.example.com": ["8.8.8.8"]}

    def look_up(host: str, port: int, **_: object) -> list[object]:
        if host not in known:
            raise socket.gaierror
        return [(0, 0, 0, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    refused = ["https://inside.example.com/x", "https://both.example.com/x", "https://no.example.com/x", "git@a.com:x"]
    assert [mirror.guarded(url) for url in refused] == [None] * 4
    options = mirror.guarded("https://out.example.com:8443/x.git") or []
    assert "http.followRedirects=false" in options
    assert "http.curloptResolve=out.example.com:8443:8.8.8.8" in options


class Machine:
    """Keeps what it is sent; `room` pieces fit until it breaks off."""

    def __init__(self, folder: Path, room: int = 100) -> None:
        self.folder, self.room, self.sent = folder, room, 0

    def at(self, path: str) -> Path:
        place = self.folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def run(self, command: str, what: str) -> str:
        place = self.folder / command.split()[2].lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        return "".join(f"{file.stat().st_size} {file.name}\n" for file in place.iterdir())

    def send(self, path: str, source: object, what: str) -> None:
        if self.sent == self.room:
            raise e2b.ProviderError("It broke off.")
        self.sent += 1
        self.at(path).write_bytes(source.read())  # type: ignore[attr-defined]

    def write(self, files: dict[str, bytes], what: str) -> None:
        for path, data in files.items():
            self.at(path).write_bytes(data)


def test_a_long_file_goes_in_pieces_and_what_broke_off_goes_on(
    project: Project, seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (seed / "big.bin").write_bytes(bytes(range(256)) * 40)
    commit(seed, "Big")
    copy = Mirror(project, str(seed))
    assert brought(copy).done
    shipment = Shipment(copy.refs(), copy.head, copy.packs())
    machine = Machine(tmp_path / "machine", room=3)
    with pytest.raises(e2b.ProviderError):
        shipping.ship(shipment, machine, "/there", 200)  # type: ignore[arg-type]
    machine.room = 1000
    monkeypatch.setattr(shipping, "SECONDS", -1.0)
    assert not shipping.ship(shipment, machine, "/there", 200)  # type: ignore[arg-type]
    assert machine.sent == 3
    monkeypatch.undo()
    assert shipping.ship(shipment, machine, "/there", 200)  # type: ignore[arg-type]
    total = sum(-(-file.stat().st_size // 200) for file in copy.packs())
    assert machine.sent == total > 6
    there = tmp_path / "machine" / "there"
    git(tmp_path, "init", "-q", "unrelated")
    joined = ["-c", f"alias.join=!sh -ec '{shipping.JOIN}' join {there}", "join"]
    git(tmp_path / "unrelated", *joined)
    git(tmp_path, "clone", "-q", str(there), "clone")
    assert git(tmp_path / "clone", "log", "--format=%s").splitlines() == ["Big", "First"]
    assert git(tmp_path / "clone", "fsck", "--strict") == ""


def test_the_store_has_what_the_copies_have(project: Project, seed: Path):
    copy, store = Mirror(project, str(seed)), Store.of(project)
    assert brought(copy).done
    head = git(seed, "rev-parse", "HEAD")
    assert not store.has(head)
    store.borrow(copy.path)
    store.borrow(copy.path)
    assert store.has(head)
    assert (store.path / "objects/info/alternates").read_text().count("\n") == 1
    store.remove()
    assert not copy.path.exists()
