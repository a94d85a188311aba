"""A budget that is used up stops a real machine with its work saved, and a raised one has it go on."""

from decimal import Decimal

from sandboxes.models import Job
from tests.endtoend.conftest import end, saved, status_of
from tests.stack import Stack, wait_for
from tests.usage.rows import budget, spend
from usage import holding
from usage.models import Budget, Entry

SCRIPT = "echo mended > work.txt; [ -f again ] && exit 0; touch again; echo ready; sleep 300"


def test_at_the_limit_work_is_saved_and_sleeps_and_goes_on_when_it_is_raised(stack: Stack) -> None:
    project, owner = stack.project()
    sandbox = stack.launch(project, SCRIPT)
    turn = sandbox.turns.get()
    wait_for(lambda: Job.objects.filter(turn=turn, seq__gte=1).exists(), "the script to be at work")
    mine = budget(project, "1")
    spend(project, "1")
    # The relay looks at budgets by itself; it need not be waited for.
    holding.watch()
    status_of(sandbox, "paused")
    turn.refresh_from_db()
    assert (turn.status, turn.reason, sandbox.reason) == ("interrupted", "budget", "budget")
    assert saved(sandbox, "work.txt") == "mended\n"
    Budget.objects.filter(pk=mine.pk).update(amount=Decimal(5))
    mine.refresh_from_db()
    assert holding.change(mine, owner) == 1
    last = sandbox.turns.order_by("pk").last()
    assert last

    def over() -> bool:
        last.refresh_from_db()
        return last.final

    wait_for(over, "the turn to be done once more")
    assert (last.status, last.prompt) == ("succeeded", SCRIPT)
    metered = Entry.objects.filter(sandbox_id=sandbox.pk, turn_id=last.pk)
    wait_for(metered.exists, "the turn to be metered")
    end(sandbox)
