"""The page of one sandbox over HTTP."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from codecourier.models import Project, User
from sandboxes import fleet
from sandboxes.models import Job, Phase, Sandbox, Template, Turn
from tests.sandboxes.pages import make


@pytest.fixture
def sandbox(project: Project, member: User, template: Template) -> Sandbox:
    return make(project, template, title="Run the tests", created_by=member)


def page(client: Client, sandbox: Sandbox, query: str = "") -> str:
    return client.get(f"/p/rocket/sandboxes/{sandbox.pk}/?{query}").content.decode()


def post(client: Client, sandbox: Sandbox, path: str, live: bool = False, **data: Any) -> Any:
    headers = {"HX-Request": "true"} if live else {}
    return client.post(f"/p/rocket/sandboxes/{sandbox.pk}/{path}/", data, headers=headers)


def test_while_it_boots_it_says_which_phase_and_what_happens_at_the_deadline(
    member_client: Client, project: Project, template: Template, member: User
):
    for _ in range(3):
        past, now = make(project, template, "killed"), timezone.now()
        Phase.objects.create(
            sandbox=past,
            name="clone",
            position=1,
            status="succeeded",
            started_at=now,
            ended_at=now + timedelta(seconds=4),
        )
    booting = fleet.launch(project, member, template=template, prompt="echo")
    booting.phases.get(name="clone").start()
    text = page(member_client, booting)
    assert "Clone repository: " in text
    assert "usually 4.0 s here" in text
    assert "the boot ends as failed and the machine is removed" in text


def test_an_error_says_why_and_where_to_look(member_client: Client, project: Project, template: Template):
    broken = make(project, template, "error", reason="clone_failed", detail="There is no repository at that address.")
    Phase.objects.create(sandbox=broken, name="clone", position=1, status="failed")
    log = Job.objects.create(sandbox=broken, kind="clone", status="exited")
    text = page(member_client, broken)
    assert "Clone repository failed" in text
    assert "There is no repository at that address." in text
    assert f'href="?job={log.pk}"' in text
    assert f"/p/rocket/sandboxes/new/?from={broken.pk}" in text


def test_the_newest_output_is_followed_unless_another_is_chosen(member_client: Client, sandbox: Sandbox):
    first, second = (Job.objects.create(sandbox=sandbox, kind="turn", status="exited") for _ in range(2))
    assert f'data-url="/ws/p/rocket/jobs/{second.pk}/output/"' in page(member_client, sandbox)
    chosen = page(member_client, sandbox, f"job={first.pk}")
    assert f'data-url="/ws/p/rocket/jobs/{first.pk}/output/"' in chosen
    assert f'ws-connect="/ws/p/rocket/sandboxes/{sandbox.pk}/?job={first.pk}"' in chosen
    assert f'data-url="/ws/p/rocket/jobs/{second.pk}/output/"' in page(member_client, sandbox, "job=99999999")


def test_stop_shows_the_wish_and_a_second_stop_skips_the_saving(member_client: Client, sandbox: Sandbox, member: User):
    post(member_client, sandbox, "stop")
    text = page(member_client, sandbox)
    assert "Stopping: saving work, at most" in text
    assert "Stop now, without saving" in text
    post(member_client, sandbox, "stop")
    sandbox.refresh_from_db()
    assert sandbox.stop_by is not None
    assert sandbox.stop_by <= timezone.now()


def test_pause_wake_trash_and_restore(member_client: Client, sandbox: Sandbox):
    post(member_client, sandbox, "pause")
    sandbox.refresh_from_db()
    assert sandbox.wanted == "pause"
    post(member_client, sandbox, "wake")
    sandbox.refresh_from_db()
    assert sandbox.wanted == "run"
    post(member_client, sandbox, "trash")
    assert "In the trash since" in page(member_client, sandbox)
    post(member_client, sandbox, "restore")
    assert "In the trash since" not in page(member_client, sandbox)


def test_what_can_not_be_done_is_said(member_client: Client, project: Project, template: Template):
    over = make(project, template, "killed", reason="user")
    answer = post(member_client, over, "send", live=True, prompt="echo more")
    assert answer.status_code == 422
    assert "This sandbox is over, so the message was not sent." in answer.content.decode()
    post(member_client, over, "send", prompt="echo more")
    assert "This sandbox is over, so the message was not sent." in page(member_client, over)
    assert post(member_client, over, "interrupt", live=True).status_code == 422


def test_messages_queue_in_order_and_can_be_edited_and_withdrawn(member_client: Client, sandbox: Sandbox, member: User):
    for text in ("echo one\r\necho two", "echo three"):
        post(member_client, sandbox, "send", prompt=text)
    first, second = sandbox.turns.all()
    assert (first.prompt, first.created_by) == ("echo one\necho two", member)
    post(member_client, sandbox, f"turns/{first.pk}/edit", prompt="echo uno")
    post(member_client, sandbox, f"turns/{second.pk}/withdraw")
    assert [turn.prompt for turn in sandbox.turns.all()] == ["echo uno"]
    assert post(member_client, sandbox, f"turns/{second.pk}/withdraw").status_code == 302


def test_a_message_that_runs_is_neither_edited_nor_withdrawn(member_client: Client, sandbox: Sandbox):
    post(member_client, sandbox, "send", prompt="echo one")
    turn = sandbox.turns.get()
    turn.move(Turn.Status.RUNNING, started_at=timezone.now())
    edited = post(member_client, sandbox, f"turns/{turn.pk}/edit", live=True, prompt="rm")
    assert "This message has started already." in edited.content.decode()
    assert post(member_client, sandbox, f"turns/{turn.pk}/withdraw", live=True).status_code == 422
    turn.refresh_from_db()
    assert turn.prompt == "echo one"


def test_an_empty_message_is_refused(member_client: Client, sandbox: Sandbox):
    answer = post(member_client, sandbox, "send", live=True, prompt="  \n ")
    assert (answer.status_code, sandbox.turns.count()) == (422, 0)
    assert "Write what the agent should do." in answer.content.decode()


def test_the_title_can_be_changed_but_not_emptied(member_client: Client, sandbox: Sandbox):
    post(member_client, sandbox, "title", title="  Nightly tests ")
    sandbox.refresh_from_db()
    assert sandbox.title == "Nightly tests"
    assert "A sandbox needs a title." in post(member_client, sandbox, "title", live=True, title=" ").content.decode()


def test_htmx_gets_the_live_parts_and_others_a_redirect(member_client: Client, sandbox: Sandbox):
    text = post(member_client, sandbox, "stop", live=True).content.decode()
    for part in ("heading", "notice", "source", "timeline", "queue", "facts"):
        assert f'id="{part}"' in text
    assert text.count('hx-swap-oob="morph"') == 7
    assert "<html" not in text


def test_queries_do_not_grow_with_the_record(member_client: Client, sandbox: Sandbox, member: User):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert member_client.get(f"/p/rocket/sandboxes/{sandbox.pk}/").status_code == 200
        return len(captured)

    def turn() -> None:
        job = Job.objects.create(sandbox=sandbox, kind="turn", status="exited", max_rss_kb=100)
        Turn.objects.create(sandbox=sandbox, prompt="echo", status="succeeded", job=job, created_by=member)
        Turn.objects.create(sandbox=sandbox, prompt="echo", status="queued", created_by=member)

    turn()
    few = queries()
    for _ in range(20):
        turn()
    assert queries() == few <= 20


def test_what_an_agent_or_a_person_wrote_is_never_markup(
    member_client: Client, project: Project, template: Template, member: User
):
    evil = "<img src=x onerror=alert(1)>"
    row = make(
        project, template, "error", title=evil, detail=evil, branch="main", labels={evil: evil}, setup_script=evil
    )
    Turn.objects.create(sandbox=row, prompt=evil, status="queued", created_by=member)
    assert "<img src=x" not in page(member_client, row)
