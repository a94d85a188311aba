"""Moves and leases: the rules that every row with a status stands on."""

import threading
from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from codecourier import queue
from codecourier.lifecycle import ForbiddenMove, Transition, sweep
from codecourier.models import Membership, Project, User
from sandboxes import fleet
from sandboxes.models import Sandbox, Template


@pytest.fixture
def sandbox(project: Project, owner: User, template: Template) -> Sandbox:
    return fleet.launch(project, owner, template=template, prompt="echo hi")


def test_a_move_writes_status_reason_and_timeline_together(sandbox: Sandbox) -> None:
    assert sandbox.enter("error", reason="lost")
    last = sandbox.history.last()
    assert last
    assert (last.old, last.new, last.reason) == ("creating", "error", "lost")
    sandbox.refresh_from_db()
    assert sandbox.status == "error"
    assert sandbox.ended_at is not None


def test_only_the_first_of_two_moves_from_one_status_is_made(sandbox: Sandbox) -> None:
    other = Sandbox.objects.get(pk=sandbox.pk)
    assert sandbox.enter("killed", reason="user")
    assert not other.enter("error", reason="lost")
    assert other.status == "killed"
    assert Transition.objects.filter(kind="sandboxes.sandbox", object_id=sandbox.pk, old="creating").count() == 1


def test_an_edge_that_is_not_in_the_graph_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ForbiddenMove, match="creating to paused"):
        sandbox.move("paused")


def test_a_final_row_never_moves_again(sandbox: Sandbox) -> None:
    sandbox.enter("killed")
    assert sandbox.final
    with pytest.raises(ForbiddenMove):
        sandbox.move("running")


def test_a_second_claim_finds_the_row_taken_and_is_remembered(sandbox: Sandbox) -> None:
    OrmQ.objects.all().delete()
    with Sandbox.claim(sandbox.pk) as first:
        assert first
        with Sandbox.claim(sandbox.pk) as second:
            assert second is None
    assert OrmQ.objects.count() == 1, "the hint that came during the work is followed afterwards"


def test_a_failed_attempt_is_due_again_after_its_back_off(sandbox: Sandbox) -> None:
    with Sandbox.claim(sandbox.pk) as row:
        assert row
        raise RuntimeError("provider on fire")
    sandbox.refresh_from_db()
    assert sandbox.lease_until is None
    assert sandbox.attempts == 1
    assert sandbox.due_at
    assert sandbox.due_at > timezone.now()


def test_the_sweep_enqueues_a_due_row_once(sandbox: Sandbox) -> None:
    OrmQ.objects.all().delete()
    Sandbox.objects.update(due_at=timezone.now())
    assert sweep() == 1
    assert sweep() == 0
    assert OrmQ.objects.count() == 1


def test_the_sweep_adds_nothing_to_a_queue_that_nobody_works_off(sandbox: Sandbox) -> None:
    OrmQ.objects.bulk_create(OrmQ(key="codecourier", payload="", lock=timezone.now()) for _ in range(queue.LONG))
    Sandbox.objects.update(due_at=timezone.now())
    before = OrmQ.objects.count()
    assert sweep() == 0
    assert OrmQ.objects.count() == before


def test_the_sweep_leaves_a_leased_row_alone(sandbox: Sandbox) -> None:
    with Sandbox.claim(sandbox.pk):
        Sandbox.objects.update(due_at=timezone.now())
        assert sweep() == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_threads_one_gets_the_lease(project: Project, owner: User, template: Template) -> None:
    sandbox = fleet.launch(project, owner, template=template, prompt="echo hi")
    gate, won = threading.Barrier(2), list[bool]()

    def contend(hold: threading.Event) -> None:
        gate.wait(timeout=10)
        with Sandbox.claim(sandbox.pk) as row:
            won.append(row is not None)
            if row:
                hold.wait(timeout=10)
            else:
                hold.set()
        connection.close()

    hold = threading.Event()
    threads = [threading.Thread(target=contend, args=[hold]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, True]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("harm", ["delete", "demote"])
def test_the_last_owner_stays_whoever_writes(harm: str, project: Project, owner: User) -> None:
    rows = Membership.objects.filter(user=owner)
    harms: dict[str, Callable[[], object]] = {"delete": rows.delete, "demote": lambda: rows.update(role="member")}
    with pytest.raises(IntegrityError, match="needs an owner"), transaction.atomic():
        harms[harm]()
    assert rows.get().role == "owner"


@pytest.mark.django_db(transaction=True)
def test_a_project_goes_with_its_owners(project: Project, owner: User) -> None:
    project.delete()
    assert not Membership.objects.exists()


def test_one_address_is_one_account_whatever_its_case(owner: User) -> None:
    with pytest.raises(IntegrityError):
        User.objects.create_user("OLGA@Example.com")
