"""A provider that hangs, refuses, forgets or loses its answer: every row still ends where it should."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from codecourier.lifecycle import sweep
from codecourier.models import User
from sandboxes import e2b, fleet, tasks, upkeep
from sandboxes.models import Orphan, Sandbox
from tests.faults import Faults

Launch = Callable[..., Sandbox]
Work = Callable[[], int]


def again(sandbox: Sandbox, work: Work) -> Sandbox:
    """The next attempt, its back-off over."""
    Sandbox.objects.filter(pk=sandbox.pk).update(due_at=timezone.now())
    sweep()
    work()
    sandbox.refresh_from_db()
    return sandbox


def machines() -> list[e2b.Info]:
    """What the provider has of this test."""
    return e2b.machines(e2b.local_provider())


def test_a_sandbox_boots_with_nothing_in_the_way(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    assert sandbox.status == "running", sandbox.detail
    assert (sandbox.real_cpu, sandbox.real_memory_mb) == (sandbox.cpu, sandbox.memory_mb)
    done = dict(sandbox.phases.values_list("name", "status"))
    assert done == {
        "template": "skipped", "create": "succeeded", "clone": "skipped", "install": "skipped",
        "setup-script": "skipped", "inject": "succeeded", "agent-cli": "succeeded",
    }  # fmt: skip
    assert sandbox.phases.get(name="agent-cli").detail.startswith("GNU bash")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_at_create_is_tried_again(status: int, provider: Faults, launch: Launch, work: Work) -> None:
    provider.add("POST", "/v2/sandboxes", status=status, times=1)
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    assert sandbox.status == "creating"
    assert "Trying again" in sandbox.phases.get(name="create").detail
    assert again(sandbox, work).status == "running"


def test_a_refused_key_ends_the_boot_with_what_to_do(provider: Faults, launch: Launch, work: Work) -> None:
    provider.add("POST", "/v2/sandboxes", status=401)
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.reason) == ("error", "missing_key")
    assert "Check the E2B key" in sandbox.detail


def test_an_answer_lost_after_the_effect_makes_no_second_machine(provider: Faults, launch: Launch, work: Work) -> None:
    provider.add("POST", "/v2/sandboxes", lose=True, times=1)
    sandbox = launch()
    work()
    assert again(sandbox, work).status == "running"
    assert [machine.id for machine in machines()] == [sandbox.provider_id]


def test_the_size_that_costs_is_asked_for_until_it_is_known(provider: Faults, launch: Launch, work: Work) -> None:
    provider.add("GET", "/sandboxes/", status=500, times=1)
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    assert (bool(sandbox.provider_id), sandbox.real_cpu) == (True, None)
    assert again(sandbox, work).status == "running"
    assert (sandbox.real_cpu, sandbox.real_memory_mb) == (sandbox.cpu, sandbox.memory_mb)


def test_a_provider_that_hangs_ends_in_overdue_and_its_late_machine_is_removed(
    provider: Faults, launch: Launch, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(e2b, "CREATE_SECONDS", 0.3)
    fault = provider.add("POST", "/v2/sandboxes", hang=True)
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    assert sandbox.status == "creating"
    Sandbox.objects.filter(pk=sandbox.pk).update(deadline_at=timezone.now() - timedelta(minutes=1))
    upkeep.enforce()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.reason) == ("error", "overdue")
    fault.times = 0
    late = e2b.create(
        e2b.local_provider(), template="script-1c-256m", envs={}, key=f"late-{sandbox.pk}",
        metadata={"codecourier": machines_of(), "sandbox": str(sandbox.pk)},
    )  # fmt: skip
    upkeep.reconcile_provider(e2b.local_provider())
    assert machines() == []
    assert Orphan.objects.get().provider_id == late.id


def machines_of() -> str:
    """The mark of this deployment."""
    return str(settings.DEPLOYMENT)


def test_stop_works_while_the_provider_answers_nothing(
    provider: Faults, launch: Launch, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(e2b, "CALL_SECONDS", 0.3)
    e2b._client.cache_clear()
    sandbox = launch()
    work()
    fault = provider.add("DELETE", "/sandboxes/", hang=True)
    sandbox.refresh_from_db()
    fleet.stop(sandbox, None)
    work()
    sandbox.refresh_from_db()
    assert sandbox.status == "running"
    assert sandbox.stopping
    Sandbox.objects.filter(pk=sandbox.pk).update(stop_by=timezone.now() - timedelta(seconds=5))
    upkeep.enforce()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.reason, sandbox.released_at) == ("killed", "user", None)
    fault.times = 0
    provider.release.set()
    assert again(sandbox, work).released_at is not None
    assert machines() == []
    e2b._client.cache_clear()


def test_stopped_before_a_machine_was_asked_for_nothing_is_waited_for(
    provider: Faults, launch: Launch, work: Work
) -> None:
    sandbox = launch()
    fleet.stop(sandbox, None)
    work()
    sandbox.refresh_from_db()
    assert sandbox.status == "killed"
    assert sandbox.released_at


def test_stopped_in_the_middle_of_a_create_its_machine_is_waited_for(
    provider: Faults, launch: Launch, work: Work
) -> None:
    sandbox = launch()
    Sandbox.objects.filter(pk=sandbox.pk).update(create_asked_at=timezone.now())
    fleet.stop(sandbox, None)
    work()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.released_at) == ("killed", None)
    over = timezone.now() - timedelta(seconds=e2b.CREATE_SECONDS)
    Sandbox.objects.filter(pk=sandbox.pk).update(create_asked_at=over)
    assert again(sandbox, work).released_at


def test_stop_works_when_the_machine_is_gone_already(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    e2b.kill(e2b.local_provider(), sandbox.provider_id)
    fleet.stop(sandbox, None)
    work()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.reason) == ("killed", "user")


def test_stop_while_creating_leaves_no_machine(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    fleet.stop(sandbox, None)
    work()
    sandbox.refresh_from_db()
    assert sandbox.status == "killed"
    assert machines() == []
    assert ("POST", "/v2/sandboxes") not in provider.asked


def test_a_machine_that_vanished_ends_its_row_as_lost(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    e2b.kill(e2b.local_provider(), sandbox.provider_id)
    upkeep.reconcile_provider(e2b.local_provider())
    work()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.reason) == ("error", "lost")
    assert Orphan.objects.get().what == "row"


def test_a_machine_of_somebody_else_is_left_alone(provider: Faults, launch: Launch, work: Work) -> None:
    place = e2b.local_provider()
    other = e2b.create(
        place, template="script-1c-256m", metadata={"codecourier": "another", "sandbox": "1"}, envs={}, key="another-1"
    )
    upkeep.reconcile_provider(place)
    assert e2b.info(place, other.id).state == "running"
    e2b.kill(place, other.id)


def test_a_worker_that_died_after_create_costs_no_second_machine(
    provider: Faults, launch: Launch, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = launch()
    with monkeypatch.context() as patch:
        patch.setattr(e2b, "info", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            work()
    Sandbox.objects.filter(pk=sandbox.pk).update(lease_until=timezone.now() - timedelta(seconds=1), provider_id="")
    assert again(sandbox, work).status == "running"
    assert [machine.id for machine in machines()] == [sandbox.provider_id]


def test_pause_and_wake_keep_the_clock_of_running_time(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    fleet.pause(sandbox, None)
    work()
    sandbox.refresh_from_db()
    assert (sandbox.status, sandbox.running_since) == ("paused", None)
    assert machines()[0].state == "paused"
    ran = sandbox.ran
    fleet.wake(sandbox, None)
    work()
    sandbox.refresh_from_db()
    assert sandbox.status == "running"
    assert machines()[0].state == "running"
    assert sandbox.ran >= ran


def test_an_idle_sandbox_pauses_by_itself(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    work()
    Sandbox.objects.filter(pk=sandbox.pk).update(active_at=timezone.now() - timedelta(hours=1))
    again(sandbox, work)
    assert (sandbox.status, sandbox.reason) == ("paused", "idle")


def test_a_sandbox_past_its_timeout_is_killed(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    work()
    Sandbox.objects.filter(pk=sandbox.pk).update(ran_ms=sandbox.timeout_ms)
    again(sandbox, work)
    assert (sandbox.status, sandbox.reason) == ("killed", "timeout")
    assert machines() == []


def test_a_pause_that_fails_for_good_lets_it_run_on(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    provider.add("POST", "/pause", status=500)
    fleet.pause(sandbox, None)
    work()
    Sandbox.objects.filter(pk=sandbox.pk).update(stop_by=timezone.now() - timedelta(seconds=1))
    again(sandbox, work)
    assert (sandbox.status, sandbox.wanted) == ("running", "run")


def test_a_machine_that_woke_while_its_row_sleeps_is_paused_again(provider: Faults, launch: Launch, work: Work) -> None:
    sandbox = launch()
    work()
    sandbox.refresh_from_db()
    fleet.pause(sandbox, None)
    work()
    e2b.connect(e2b.local_provider(), sandbox.provider_id)
    assert machines()[0].state == "running"
    Sandbox.objects.filter(pk=sandbox.pk).update(status_at=timezone.now() - timedelta(minutes=1))
    upkeep.reconcile_provider(e2b.local_provider())
    assert machines()[0].state == "paused"


def test_an_end_that_nobody_asked_for_is_told_once(launch: Launch, work: Work, owner: User) -> None:
    sandbox = launch()
    fleet.finish(sandbox, "error", "lost")
    tasks.tell_end.enqueue(sandbox.pk)
    work()
    told = owner.notifications.get()
    assert (told.level, told.url) == ("error", f"/p/rocket/sandboxes/{sandbox.pk}/")
    assert "machine is gone" in told.text


def test_an_end_by_a_person_is_told_to_nobody(launch: Launch, work: Work, owner: User) -> None:
    fleet.finish(launch(), "killed", "user")
    work()
    assert not owner.notifications.exists()
