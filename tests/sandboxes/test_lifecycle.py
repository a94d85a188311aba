"""Long lives: across the plan's longest session, and beyond the first deadline."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone

from codecourier.models import Project, User
from sandboxes import e2b, fleet, sessions, turns
from sandboxes.models import Job, Sandbox, Template
from tests.conftest import signed_in
from tests.faults import Faults
from tests.sandboxes.conftest import Cloud
from tests.sandboxes.pages import make
from tests.stack import wait_for

Launch = Callable[..., Sandbox]
Look = Callable[[], None]
SIZE = {"cpu": 1, "memory_mb": 384}
CAP = timedelta(minutes=10)


@pytest.fixture
def aging(cloud: Cloud, launch: Launch, look: Look, settings: LazySettings) -> Callable[[timedelta], Sandbox]:
    """A running sandbox in the cloud whose machine has run for so long."""
    settings.E2B_MAX_SESSION = CAP
    cloud.templates.ready.add("script-1c-384m")
    sandbox = launch(**SIZE)

    def running() -> bool:
        look()
        sandbox.refresh_from_db()
        return sandbox.status == "running"

    wait_for(running, "the sandbox to run")

    def age(ran: timedelta) -> Sandbox:
        Sandbox.objects.filter(pk=sandbox.pk).update(machine_since=timezone.now() - ran)
        cloud.faults.asked.clear()
        sandbox.refresh_from_db()
        return sandbox

    return age


def crossed(cloud: Cloud) -> list[str]:
    """The pauses and resumes that were asked for."""
    return [path.rpartition("/")[2] for method, path in cloud.faults.asked if path.endswith(("/pause", "/connect"))]


def test_a_session_near_its_end_is_renewed_with_what_runs_in_it(
    cloud: Cloud, aging: Callable[[timedelta], Sandbox], look: Look
) -> None:
    sandbox = aging(CAP * 0.8)
    machine = e2b.machine_of(sandbox)
    pid = machine.run("sleep 300 >/dev/null 2>&1 & echo $!", "start something").strip()
    cloud.faults.asked.clear()
    look()
    assert crossed(cloud)[:2] == ["pause", "connect"]
    assert e2b.machine_of(sandbox).run(f"kill -0 {pid} && echo lives", "see whether it lives") == "lives\n"
    before = sandbox.provider_id
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.provider_id) == ("running", before)
    assert sandbox.machine_since
    assert sandbox.machine_since > timezone.now() - timedelta(minutes=1)
    cloud.faults.asked.clear()
    look()
    assert "pause" not in crossed(cloud), "once is enough"


def test_a_session_with_time_left_is_left_alone(
    cloud: Cloud, aging: Callable[[timedelta], Sandbox], look: Look
) -> None:
    aging(CAP * 0.7)
    look()
    assert crossed(cloud) == []


def test_a_command_is_broken_into_only_at_the_last_moment(
    cloud: Cloud, aging: Callable[[timedelta], Sandbox], look: Look
) -> None:
    sandbox = aging(CAP * 0.78)
    Job.objects.create(sandbox=sandbox, kind=Job.Kind.TURN, status="running")
    look()
    assert "pause" not in crossed(cloud)
    aging(CAP - sessions.LAST_MOMENT)
    look()
    assert crossed(cloud)[0] == "pause"


def test_a_worker_that_dies_between_pause_and_resume_leaves_nobody_asleep(
    cloud: Cloud, aging: Callable[[timedelta], Sandbox], look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = aging(CAP * 0.8)
    with monkeypatch.context() as patch:
        patch.setattr(e2b, "connect", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            look()
    assert e2b.info(e2b.provider_of(sandbox.project), sandbox.provider_id).state == "paused"
    Sandbox.objects.filter(pk=sandbox.pk).update(lease_until=None)
    look()
    assert e2b.info(e2b.provider_of(sandbox.project), sandbox.provider_id).state == "running"
    sandbox.refresh_from_db()
    assert sandbox.status == "running"


def test_a_session_that_cannot_be_renewed_just_now_holds_up_nothing(
    cloud: Cloud, aging: Callable[[timedelta], Sandbox], look: Look
) -> None:
    sandbox = aging(CAP * 0.8)
    fault = cloud.faults.add("POST", "/pause", status=503)
    turns.send(sandbox, None, "echo hello")
    look()
    sandbox.refresh_from_db()
    assert sandbox.turns.get().status == "running"
    assert sandbox.status == "running"
    fault.times = 0


def test_a_local_machine_runs_as_long_as_it_likes(project: Project, template: Template) -> None:
    sandbox = make(project, template, provider="local", machine_since=timezone.now() - timedelta(days=3))
    assert sessions.due_at(sandbox) is None


def test_its_use_keeps_a_sandbox_awake(provider: Faults, launch: Launch, look: Look) -> None:
    sandbox = launch()
    look()
    Sandbox.objects.filter(pk=sandbox.pk).update(active_at=timezone.now() - timedelta(hours=1))
    fleet.touch(sandbox)
    look()
    sandbox.refresh_from_db()
    assert sandbox.status == "running"


def test_more_time_is_a_click_away_up_to_the_limit(project: Project, template: Template, owner: User) -> None:
    sandbox = make(project, template, timeout_ms=13_000_000)
    browser, page = signed_in(owner), f"/p/rocket/sandboxes/{sandbox.pk}/"
    assert "30 more minutes" in browser.get(page).content.decode()
    browser.post(f"{page}extend/")
    sandbox.refresh_from_db()
    assert sandbox.timeout_ms == 14_400_000, "as far as the limit"
    refused = browser.post(f"{page}extend/", headers={"HX-Request": "true"})
    assert refused.status_code == 422
    assert "It has the longest time allowed already, 240 minutes" in refused.content.decode()
    assert "30 more minutes" not in browser.get(page).content.decode()


def test_a_sandbox_that_is_over_gets_no_more_time(project: Project, template: Template, owner: User) -> None:
    sandbox = make(project, template, "killed")
    with pytest.raises(fleet.NotPossible, match="is over"):
        fleet.extend(sandbox, owner)


def test_a_stranger_extends_nothing(project: Project, template: Template, stranger: User) -> None:
    sandbox = make(project, template)
    assert signed_in(stranger).post(f"/p/rocket/sandboxes/{sandbox.pk}/extend/").status_code == 404
