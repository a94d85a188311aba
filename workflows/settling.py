"""The end of a step: what its turn said, and which state of the work it left."""

from typing import Any

from django.utils import timezone

from sandboxes import contracts
from sandboxes.models import Checkpoint, Event, Output, Sandbox, Turn
from sandboxes.reasons import Reason as Why

from .models import StepRun
from .reasons import Reason

T, W = Turn.Status, StepRun.Status
OUTPUT = 60_000


def settle(row: StepRun) -> bool:
    """End a row whose work is over; False while it is not."""
    sandbox, turn = row.sandbox, row.turn
    if sandbox is None or turn is None:
        return row.move(W.FAILED, reason=Reason.STEP_FAILED, detail="Its sandbox was deleted.", ended_at=timezone.now())
    last = over(sandbox, turn)
    if last is None:
        return False
    status, reason, detail, answer = judged(row, last)
    whole, left = saved(row, sandbox)
    writes = row.kind == StepRun.Kind.STEP and row.spec["writes"]
    if status == W.SUCCEEDED and writes and not whole:
        status, reason, detail = W.FAILED, Reason.UNSAVED, Reason.sentence(Reason.UNSAVED)
    return row.move(
        status, reason=reason, detail=detail, answer=answer, output=words(sandbox, last), ended_at=timezone.now(),
        checkpoint=left if writes else row.base, dropped=None if writes or left == row.base else left,
    )  # fmt: skip


def pin_base(row: StepRun) -> None:
    """Where the run's work began: at what its first machine was cloned at. All others begin there as well."""
    run, sandbox = row.run, row.sandbox
    if sandbox and not run.base_commit and row.base_id == run.continues_id and sandbox.start_commit:
        type(run).objects.filter(pk=run.pk, base_commit="").update(base_commit=sandbox.start_commit)
        run.base_commit = sandbox.start_commit


def over(sandbox: Sandbox, turn: Turn) -> Turn | None:
    """The turn that the step ended with; None while anything of it goes on.

    What a person said meanwhile is part of the step. One whom somebody interrupted waits for a word, until its machine
    is gone.
    """
    if sandbox.turns.unfinished().exists() or sandbox.checkpoints.open().exists():
        return None
    last = contracts.outcome(turn)
    if last is None:
        return None
    newest = sandbox.turns.filter(contract="").order_by("position", "pk").last()
    counts = newest if newest and not turn.contract else last
    if counts.status == T.INTERRUPTED and counts.reason in {Why.INTERRUPTED, Why.BUDGET} and not sandbox.final:
        return None
    return counts


def judged(row: StepRun, turn: Turn) -> tuple[str, str, str, Any]:
    """(status, reason, detail, answer) of the row. A script that checks gives its verdict by exit status."""
    spec = row.spec
    if row.kind == StepRun.Kind.STEP and spec["tool"] == "script" and spec["contract"] == "verdict":
        if turn.status == T.SUCCEEDED and isinstance(turn.answer, dict):
            return W.SUCCEEDED, "", "", turn.answer
        if turn.status == T.SUCCEEDED or turn.reason == Why.EXIT:
            return W.SUCCEEDED, "", "", exit_verdict(turn)
    if turn.status == T.SUCCEEDED:
        return W.SUCCEEDED, "", "", turn.answer
    return W.FAILED, turn.reason or Reason.STEP_FAILED, turn.detail, None


def exit_verdict(turn: Turn) -> dict[str, Any]:
    """What a script that checks says without a word: its exit status, with the end of what it printed."""
    if turn.status == T.SUCCEEDED:
        return {"verdict": "pass", "summary": "The script ended with exit status 0.", "findings": []}
    printed = tail(turn)[-4_000:]
    summary = f"{turn.detail}\n\n```\n{printed}\n```" if printed.strip() else turn.detail
    return {"verdict": "fail", "summary": summary, "findings": []}


def saved(row: StepRun, sandbox: Sandbox) -> tuple[bool, Checkpoint | None]:
    """Whether all could be saved, and the newest state that it left: what it began from when it changed nothing."""
    since = row.started_at or row.created_at
    rows = sandbox.checkpoints.filter(created_at__gte=since).exclude(status=Checkpoint.Status.SAME)
    last = rows.order_by("id").last()
    stored = rows.filter(status=Checkpoint.Status.STORED).order_by("id").last()
    return last is None or last == stored, stored or row.base


def words(sandbox: Sandbox, turn: Turn) -> str:
    """The agent's last words in the turn; of a script the end of what it printed."""
    if turn.job_id is None:
        return ""
    rows = Event.objects.filter(job=turn.job_id, kind="text").order_by("-seq").values_list("data", flat=True)
    said = rows.first()
    return str(said.get("text", ""))[-OUTPUT:] if said else ("" if sandbox.tool != "script" else tail(turn))


def tail(turn: Turn) -> str:
    """The end of what a turn's command printed."""
    rows = Output.objects.filter(job=turn.job_id).order_by("-seq").values_list("data", flat=True)[:40]
    text = b"".join(reversed([bytes(data) for data in rows])).decode(errors="replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[-OUTPUT:]


def waits_for(rows: list[StepRun]) -> str:
    """For whom a run waits that does nothing by itself; empty while its agents work."""
    for row in rows:
        if row.status != W.RUNNING or row.sandbox is None or row.turn is None:
            continue
        last = row.sandbox.turns.order_by("position", "pk").last()
        if last is None or last.status != T.INTERRUPTED:
            continue
        if last.reason == Why.BUDGET:
            return f"{row.spec['name']}: {last.detail}"
        return f"{row.spec['name']} was interrupted. Send it a message to go on, or cancel the run."
    return ""
