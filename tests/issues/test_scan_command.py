"""`manage.py scan`: what it prints, and what its exit status says."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from codecourier import up
from codecourier.models import Project
from issues import scan as scanning
from issues import sessions
from issues.models import IssueSession
from sandboxes import watching
from tests.issues.conftest import end_turn, finding, findings

type Answering = Callable[[dict[str, Any] | None], None]


@pytest.fixture(autouse=True)
def no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs already."""
    monkeypatch.setattr(up, "stack", lambda say: nullcontext())


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Has the session answer while it is watched."""

    def with_answer(answer: dict[str, Any] | None) -> None:
        def events(watch: watching.Watch) -> Iterator[dict[str, Any]]:
            yield {"event": "sandbox", "name": "sandbox", "status": "running", "reason": "", "detail": "", "at": ""}
            session = IssueSession.objects.get(sandbox=watch.sandbox)
            assert session.turn
            end_turn(session.turn, answer, "succeeded" if answer else "failed", **({} if answer else {"detail": "No."}))
            sessions.settle(session, scanning.take)

        monkeypatch.setattr(watching.Watch, "until_final", events)

    return with_answer


def test_people_read_a_line_for_each_card(shop: Project, answering: Answering, capsys: pytest.CaptureFixture[str]):
    answering(findings(finding(), finding()))
    call_command("scan", project="rocket", prompt="Look.", path=["shop"], most=5)
    said = capsys.readouterr()
    session = IssueSession.objects.get()
    assert (session.prompt, session.scope, session.most) == ("Look.", ["shop"], 5)
    first, second = session.issues.order_by("pk")
    assert said.out.splitlines() == [
        f"#{first.pk} high: Total of an empty basket is wrong",
        f"#{second.pk} high: Total of an empty basket is wrong (possible duplicate of #{first.pk})",
    ]
    assert f"· Finding issues, session {session.pk}: 2 issues, 1 of them possible duplicates." in said.err
    assert "· sandbox running" in said.err


def test_machines_read_json(shop: Project, answering: Answering, capsys: pytest.CaptureFixture[str]):
    answering(findings(finding(), questions=[{"text": "Why?"}]))
    call_command("scan", project="rocket", json=True)
    *_, card, record = map(json.loads, capsys.readouterr().out.splitlines())
    assert (card["event"], card["priority"], card["files"]) == ("issue", "high", ["shop/basket.py"])
    assert (record["status"], record["added"], record["questions"]) == ("done", 1, 1)


def test_a_session_that_fails_is_told_by_the_exit_status(
    shop: Project, answering: Answering, capsys: pytest.CaptureFixture[str]
):
    answering(None)
    with pytest.raises(SystemExit) as status:
        call_command("scan", project="rocket")
    assert status.value.code == 1
    assert "failed: No." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [({"project": "nothing"}, "There is no project 'nothing'. Known: rocket."), ({"most": 0}, "1 to 100"),
     ({"path": ["/etc"]}, "no path in the repository")],
)  # fmt: skip
def test_a_bad_call_is_refused_with_what_to_do(shop: Project, options: dict[str, Any], says: str):
    with pytest.raises(CommandError, match=says) as refused:
        call_command("scan", **({"project": "rocket"} | options))
    assert refused.value.returncode == 2
    assert not IssueSession.objects.exists()


def test_ctrl_c_stops_the_session(shop: Project, monkeypatch: pytest.MonkeyPatch):
    def interrupted(watch: watching.Watch) -> Iterator[dict[str, Any]]:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching.Watch, "until_final", interrupted)
    with pytest.raises(SystemExit) as status:
        call_command("scan", project="rocket")
    assert status.value.code == 130
    sandbox = IssueSession.objects.get().sandbox
    assert sandbox
    assert sandbox.wanted == "kill"
