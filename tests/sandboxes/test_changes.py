"""What a sandbox changed, as its tab shows it: real commits in the portal's repository, no machine."""

import io
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils.safestring import SafeString

from codecourier.models import Project, Variable
from sandboxes.changes import reading, showing
from sandboxes.changes.rendering import Note
from sandboxes.checkpoints.store import Store, ref_of
from sandboxes.models import Checkpoint, Sandbox, Template, Turn
from tests.sandboxes.pages import make as make_sandbox
from tests.sandboxes.repositories import commit, git, keep, make, write

Save = Callable[..., Checkpoint]


@pytest.fixture
def clone(tmp_path: Path, settings: Any) -> Path:
    settings.STATE = tmp_path / "state"
    return make(tmp_path / "clone", a__py="def one():\n    return 1\n", old__txt="same\n" * 20, gone__txt="bye\n")


@pytest.fixture
def sandbox(project: Project, template: Template, clone: Path) -> Sandbox:
    return make_sandbox(project, template, "killed", title="Fix it", start_commit=git(clone, "rev-parse", "HEAD"))


@pytest.fixture
def save(sandbox: Sandbox, clone: Path) -> Save:
    """A checkpoint of how the clone stands."""

    def take(prompt: str = "Do it") -> Checkpoint:
        commit(clone, prompt)
        turn = Turn.objects.create(sandbox=sandbox, prompt=prompt, status="succeeded")
        row = Checkpoint.objects.create(sandbox=sandbox, turn=turn, cause="turn", status="taking")
        row.commit = keep(Store.of(sandbox.project), clone, ref_of(sandbox.pk, row.pk))
        row.status = "stored"
        row.save()
        return row

    return take


def shown(client: Client, sandbox: Sandbox, query: str = "", part: str = "") -> str:
    answer = client.get(f"/p/rocket/sandboxes/{sandbox.pk}/changes/{part}{query}", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return str(answer.content.decode())


def compare(sandbox: Sandbox, base: str, head: str) -> set[str]:
    return {change.path for change in reading.changes(reading.comparison(sandbox, base, head))}


def taken(client: Client, sandbox: Sandbox, kind: str) -> bytes:
    answer: Any = client.get(f"/p/rocket/sandboxes/{sandbox.pk}/changes/{kind}/")
    return b"".join(answer.streaming_content)


def all_changes(sandbox: Sandbox) -> dict[str, reading.Change]:
    return {change.path: change for change in reading.changes(reading.comparison(sandbox, "", ""))}


def test_every_kind_of_change_is_told(sandbox: Sandbox, clone: Path, save: Save, member_client: Client):
    write(clone, a__py="def one():\n    return 2\n", new__txt="hello\n")
    git(clone, "mv", "old.txt", "renamed.txt")
    (clone / "gone.txt").unlink()
    (clone / "pic.png").write_bytes(bytes(range(256)))
    (clone / "link").symlink_to("a.py")
    (clone / "run.sh").write_text("#!/bin/sh\n")
    (clone / "run.sh").chmod(0o755)
    save()
    found = all_changes(sandbox)
    told = {path: (change.status, change.additions, change.deletions) for path, change in found.items()}
    assert told == {
        "a.py": ("M", 1, 1), "new.txt": ("A", 1, 0), "renamed.txt": ("R", 0, 0), "gone.txt": ("D", 0, 1),
        "pic.png": ("A", None, None), "link": ("A", 1, 0), "run.sh": ("A", 1, 0),
    }  # fmt: skip
    assert (found["renamed.txt"].old_path, found["link"].mode) == ("old.txt", "symbolic link")
    text = shown(member_client, sandbox)
    for said in ("old.txt → renamed.txt", "no text", "symbolic link", "7 files", "Its lines are the same"):
        assert said in text, said


def test_names_of_every_kind_come_through(sandbox: Sandbox, clone: Path, save: Save, member_client: Client):
    names = [
        "with space.txt",
        "tab\there.txt",
        "quote\"'.txt",
        "<b>bold</b>.txt",
        "ünïcode.txt",
        ":(glob)*.txt",
        "-dash.txt",
    ]
    for name in names:
        (clone / name).parent.mkdir(exist_ok=True)
        if "/" not in name:
            (clone / name).write_text("x\n")
    save()
    assert set(names) - {"<b>bold</b>.txt"} <= set(all_changes(sandbox))
    for name in set(names) - {"<b>bold</b>.txt"}:
        answer = member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/changes/file/", {"path": name})
        assert answer.status_code == 200, name
        assert "line-come" in answer.content.decode(), name


def test_lines_are_numbered_coloured_and_escaped(sandbox: Sandbox, clone: Path, save: Save, member_client: Client):
    write(clone, a__py="def one():\n    # <script>\n    return 2\n")
    save()
    text = shown(member_client, sandbox, "?path=a.py", "file/")
    assert '<span class="k">def</span>' in text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    split = shown(member_client, sandbox, "?path=a.py&view=split", "file/")
    assert "lines-split" in split
    assert split.count("line-gone") == text.count("line-gone") * 2


def test_the_projects_secrets_are_hidden(
    sandbox: Sandbox, clone: Path, save: Save, project: Project, member_client: Client
):
    Variable.objects.create(project=project, name="TOKEN", value="tok3n-canary-0123456789", secret=True)
    Variable.objects.create(project=project, name="PEM", value="first-line-canary\nsecond-line-canary", secret=True)
    write(clone, a__py="token = 'tok3n-canary-0123456789'\n", b__txt="x\nfirst-line-canary\nsecond-line-canary\n")
    save()
    assert "canary" not in shown(member_client, sandbox)


def test_any_two_states_can_be_compared(sandbox: Sandbox, clone: Path, save: Save, member_client: Client):
    write(clone, one__txt="1\n")
    first = save("First")
    write(clone, two__txt="2\n")
    second = save("Second")
    assert compare(sandbox, "", "") == {"one.txt", "two.txt"}
    assert compare(sandbox, "last", "") == {"two.txt"}
    assert compare(sandbox, "", str(first.pk)) == {"one.txt"}
    assert compare(sandbox, str(second.pk), str(first.pk)) == {"two.txt"}
    assert compare(sandbox, "nonsense", "99999999") == {"one.txt", "two.txt"}
    text = shown(member_client, sandbox)
    assert "After “First”" in text
    assert f"continue={second.pk}" in text


def test_a_folder_that_began_empty_is_all_new(sandbox: Sandbox, clone: Path, save: Save):
    Sandbox.objects.filter(pk=sandbox.pk).update(start_commit="")
    sandbox.refresh_from_db()
    save()
    assert {change.status for change in all_changes(sandbox).values()} == {"A"}


def test_long_and_generated_files_are_folded_and_bounded(
    sandbox: Sandbox, clone: Path, save: Save, member_client: Client
):
    write(clone, long__txt="".join(f"{n}\n" for n in range(20_000)))
    (clone / "package-lock.json").write_text("{}\n")
    save()
    found = all_changes(sandbox)
    assert found["long.txt"].folded
    assert found["package-lock.json"].generated
    text = shown(member_client, sandbox, "?path=long.txt", "file/")
    assert "Only the beginning is shown" in text
    assert text.count("line-come") <= reading.MOST_LINES


def test_many_files_come_a_page_at_a_time(
    sandbox: Sandbox, clone: Path, save: Save, member_client: Client, django_assert_max_num_queries: Any
):
    for number in range(230):
        (clone / f"f{number:03}.txt").write_text(f"{number}\n")
    save()
    with django_assert_max_num_queries(20):
        text = shown(member_client, sandbox)
    assert text.count('class="change"') == 100
    assert text.count("data-file=") == 230
    assert shown(member_client, sandbox, "?page=3").count('class="change"') == 30


def test_what_is_said_of_lines_stands_below_them_and_else_above(sandbox: Sandbox, clone: Path, save: Save):
    write(clone, a__py="def one():\n    return 2\n")
    found = reading.comparison(save().sandbox, "", "")
    said = [Note(f"note-{line}", line, "High", SafeString("no")) for line in (2, 99, None)]
    shown = showing.listed(sandbox.project, found, "?", "1", split=False, notes={"a.py": said, "b.py": said[:1]})
    entry = shown["entries"][0]
    at = next(place for place, row in enumerate(entry["rows"]) if row.notes)
    assert entry["rows"][at].notes == (said[0],)
    assert entry["rows"][at - 1].new.number == 2
    assert entry["notes"] == said[1:]
    assert [(note.id, note.title) for note in shown["elsewhere"]] == [("note-2", "High · b.py")]


def test_all_of_it_can_be_taken_home(sandbox: Sandbox, clone: Path, save: Save, member_client: Client, tmp_path: Path):
    write(clone, a__py="changed\n")
    (clone / "pic.png").write_bytes(bytes(range(256)))
    row = save()
    git(tmp_path, "clone", "-q", str(clone), "home")
    home = tmp_path / "home"
    git(home, "reset", "-q", "--hard", sandbox.start_commit)
    subprocess.run(["git", "apply"], cwd=home, input=taken(member_client, sandbox, "patch"), check=True)
    assert (home / "pic.png").read_bytes() == bytes(range(256))
    (tmp_path / "work.bundle").write_bytes(taken(member_client, sandbox, "bundle"))
    git(home, "fetch", "-q", str(tmp_path / "work.bundle"), f"{ref_of(sandbox.pk, row.pk)}:refs/heads/mine")
    assert git(home, "rev-parse", "mine") == row.commit
    with zipfile.ZipFile(io.BytesIO(taken(member_client, sandbox, "zip"))) as packed:
        assert packed.read("a.py") == b"changed\n"


def test_nothing_saved_is_said(sandbox: Sandbox, member_client: Client):
    assert "Nothing is saved yet" in shown(member_client, sandbox)
    assert member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/changes/patch/").status_code == 302


def test_a_repository_that_is_broken_is_told(sandbox: Sandbox, clone: Path, save: Save, member_client: Client):
    write(clone, a__py="x\n")
    save()
    Checkpoint.objects.update(commit="0" * 39 + "1")
    assert "can&#x27;t be read" in shown(member_client, sandbox)


@pytest.mark.parametrize("part", ["", "file/?path=a.py", "patch/", "bundle/", "zip/", "nonsense/"])
def test_strangers_find_nothing(
    sandbox: Sandbox, stranger_client: Client, member_client: Client, save: Save, part: str
):
    save()
    assert stranger_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/changes/{part}").status_code == 404
    if part == "nonsense/":
        assert member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/changes/{part}").status_code == 404
