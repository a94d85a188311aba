"""Files that go with a message: what is accepted, where they are kept, how they come into the machine and go again."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from codecourier.models import Project, User
from sandboxes import attachments, jobs, turns
from sandboxes.models import Attachment, Sandbox, Template
from tests.sandboxes.pages import make


@pytest.fixture(autouse=True)
def state(settings: LazySettings, tmp_path: Path) -> Path:
    """Its own folder."""
    settings.STATE = tmp_path
    return tmp_path


@pytest.fixture
def sandbox(project: Project, member: User) -> Sandbox:
    template = Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")
    return make(project, template, created_by=member)


def file(name: str, data: bytes = b"x") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


def sized(name: str, size: int) -> SimpleUploadedFile:
    made = file(name)
    made.size = size
    return made


def kept(state: Path) -> list[Path]:
    return [path for path in state.rglob("*") if path.is_file()]


class Machine:
    """Notes what is written."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def write(self, files: dict[str, bytes], what: str) -> None:
        self.files |= files


def test_files_are_kept_and_come_into_the_machine_with_their_turn(sandbox: Sandbox, member: User, state: Path):
    turn = turns.send(
        sandbox, member, "Read", files=[file("a.txt", b"one"), file("a.txt", b"two"), file("b.png", b"3")]
    )
    assert len(kept(state)) == 3
    machine: Any = Machine()
    attachments.hand_over(turn, machine)
    folder = f"/home/user/attachments/{turn.pk}"
    assert machine.files == {f"{folder}/a.txt": b"one", f"{folder}/a-2.txt": b"two", f"{folder}/b.png": b"3"}
    turn.job = jobs.create(sandbox, "turn")
    turn.save()
    task = jobs.task(turn.job)
    assert task.attachments == tuple(machine.files)
    assert f"- {folder}/a-2.txt" in task.message


def test_a_turn_without_files_writes_nothing(sandbox: Sandbox, member: User):
    machine: Any = Machine()
    attachments.hand_over(turns.send(sandbox, member, "x"), machine)
    assert machine.files == {}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([sized("big.bin", 21 * 2**20)], "big.bin has 21.0 MB; a file may have 20 MB."),
        ([sized(f"{number}", 18 * 2**20) for number in range(3)], "54.0 MB together; a message may have 50 MB."),
        ([file(f"{number}") for number in range(21)], "may have 20 files, these are 21."),
    ],
)
def test_too_much_is_refused_with_what_is_allowed(
    sandbox: Sandbox, member: User, state: Path, files: list[Any], says: str
):
    with pytest.raises(ValidationError, match=says):
        turns.send(sandbox, member, "x", files=files)
    assert (sandbox.turns.count(), kept(state)) == (0, [])


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\work\\a b.txt", "a b.txt"),
        ("-rf", "rf"),
        ("...", "file"),
        ("a\x1b[31m\u202e\nb.txt", "a_[31m__b.txt"),
        ("ünï.png", "ünï.png"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
    ],
)
def test_names_are_only_names(name: str, clean: str):
    assert attachments.clean(name) == clean


@pytest.mark.parametrize("name", ["a" * 400, "." * 400, "a." * 200, "é" * 200 + ".txt", "x." + "y" * 300])
def test_names_are_short_whatever_they_are_made_of(name: str):
    assert 1 <= len(attachments.clean(name)) <= attachments.NAME_CHARS


def test_a_withdrawn_message_takes_its_files_with_it(
    sandbox: Sandbox, member: User, state: Path, django_capture_on_commit_callbacks: Any
):
    turn = turns.send(sandbox, member, "x", files=[file("a.txt")])
    with django_capture_on_commit_callbacks(execute=True):
        turns.withdraw(turn)
    assert (Attachment.objects.count(), kept(state)) == (0, [])


def test_a_message_that_can_not_be_sent_leaves_no_files(sandbox: Sandbox, member: User, state: Path):
    with pytest.raises(ValidationError):
        turns.send(sandbox, member, "x", effort="enormous", files=[file("a.txt")])
    with pytest.raises(ValidationError, match="Write what"):
        turns.send(sandbox, member, " ", files=[file("a.txt")])
    assert (sandbox.turns.count(), kept(state)) == (0, [])


@pytest.mark.parametrize("model", ["--version", "a b", "x" * 200, "$(id)", "'; rm", "-m"])
def test_a_model_is_a_name(sandbox: Sandbox, member: User, model: str):
    with pytest.raises(ValidationError, match="no name of a model"):
        turns.send(sandbox, member, "x", model=model)


def test_model_and_effort_are_of_the_one_message(sandbox: Sandbox, member: User):
    first = turns.send(sandbox, member, "x", model="anthropic/claude-opus-4.5:beta[1m]", effort="high")
    second = turns.send(sandbox, member, "y")
    assert (first.model, first.effort) == ("anthropic/claude-opus-4.5:beta[1m]", "high")
    assert (second.model, second.effort) == ("", "")


def test_a_message_can_be_put_anywhere_in_the_queue(sandbox: Sandbox, member: User):
    made = [turns.send(sandbox, member, name) for name in "abcd"]

    def order() -> str:
        return "".join(sandbox.turns.values_list("prompt", flat=True))

    turns.put(made[3], 0)
    assert order() == "dabc"
    turns.put(made[3], 99)
    assert order() == "abcd"
    turns.put(made[0], 1)
    assert order() == "bacd"
    made[1].move("running")
    with pytest.raises(turns.NotPossible, match="started already"):
        turns.put(made[1], 2)
    turns.put(made[3], 0)
    turns.send(sandbox, member, "e")
    assert order() == "bdace"


def test_files_are_downloads_for_members_only(
    member_client: Client, stranger_client: Client, sandbox: Sandbox, member: User
):
    turns.send(sandbox, member, "x", files=[file('a"\u202eb.html', b"<script>")])
    path = f"/p/rocket/sandboxes/{sandbox.pk}/attachments/{Attachment.objects.get().pk}/"
    answer: Any = member_client.get(path)
    assert b"".join(answer.streaming_content) == b"<script>"
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment; ")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert stranger_client.get(path).status_code == 404
    assert member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/attachments/999/").status_code == 404


def test_what_is_purged_takes_its_files_with_it(sandbox: Sandbox, member: User, state: Path):
    turns.send(sandbox, member, "x", files=[file("a.txt")])
    attachments.forget(sandbox.pk)
    attachments.forget(sandbox.pk)
    assert kept(state) == []
