"""Turns: messages queue in order, one runs at a time, each ends by what its job says."""

import re
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from codecourier import live, registries
from codecourier.models import User

from . import attachments, contracts, e2b, jobs, limits, transcripts
from .agents import AGENTS, Verdict
from .agents.base import Exit
from .checkpoints import setting, taking
from .models import Checkpoint, Job, Sandbox, Turn, Wanted
from .reasons import Reason

T = Turn.Status
# As the vendors write them, with providers before and variants behind; never an option of a command.
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+\[\]-]{0,119}")


class NotPossible(Exception):
    """What was asked can't be done now; the sentence says why and what can."""


def queue(
    sandbox: Sandbox,
    user: User | None,
    prompt: str,
    *,
    model: str = "",
    effort: str = "",
    files: Sequence[UploadedFile] = (),
    contract: str = "",
    onto: Checkpoint | None = None,
) -> Turn:
    """Write a message's row and keep its files; ValidationError when it says nothing or asks for what can't be.

    `contract` names what it has to answer with, `onto` the state that the machine is set to before.
    """
    last = sandbox.turns.aggregate(last=Max("position"))["last"] or 0
    turn = Turn(sandbox=sandbox, created_by=user, prompt=prompt, status=T.QUEUED, position=last + 1)
    turn.model, turn.effort, turn.contract, turn.onto = model.strip(), effort, contract, onto
    turn.clean()
    check(sandbox.tool, turn.model, turn.effort)
    turn.save()
    contracts.put(turn)
    attachments.keep(turn, files)
    turn.record("", turn.status, turn.created_at)
    return turn


def check(tool: str, model: str, effort: str) -> None:
    """Refuse a model or an effort that the tool could not be given; ValidationError by field."""
    if model and not MODEL.fullmatch(model):
        text = f"{model[:60]!r} is no name of a model: letters, digits and . _ : / @ + - [ ] make one."
        raise ValidationError({"designer_model": text})
    if effort and effort not in AGENTS[tool].efforts:
        known = ", ".join(AGENTS[tool].efforts) or "none"
        raise ValidationError({"effort": f"{AGENTS[tool].name} has no effort {effort[:20]!r}. It has: {known}."})


def send(
    sandbox: Sandbox,
    user: User | None,
    prompt: str,
    *,
    model: str = "",
    effort: str = "",
    files: Sequence[UploadedFile] = (),
    contract: str = "",
    onto: Checkpoint | None = None,
) -> Turn:
    """Queue a message, and wake a sandbox that sleeps; NotPossible when it is over."""
    attachments.check(files)
    with transaction.atomic():
        row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
        if row.final or row.wanted == Wanted.KILL:
            raise NotPossible("This sandbox is over, so the message was not sent. Start a new sandbox with it.")
        if said := limits.refused(row.project, user, row.labels):
            raise NotPossible(f"The message was not sent. {said}")
        turn = queue(row, user, prompt, model=model, effort=effort, files=files, contract=contract, onto=onto)
        row.want(Wanted.RUN, by=user)
        Sandbox.objects.filter(pk=row.pk).update(active_at=timezone.now())
        turn.nudge()
        Sandbox.poke(row.pk)
    return turn


def put(turn: Turn, place: int) -> None:
    """Move a message to a place in the queue, 0 being the next; NotPossible once it has started."""
    with transaction.atomic():
        Sandbox.objects.select_for_update().get(pk=turn.sandbox_id)
        rows = list(Turn.objects.filter(sandbox=turn.sandbox_id, status=T.QUEUED).order_by("position", "pk"))
        if turn not in rows:
            raise NotPossible("This message has started already, so its place can't change any more.")
        rows.remove(turn)
        rows.insert(max(0, place), turn)
        first = min(row.position for row in [*rows, turn])
        for position, row in enumerate(rows, first):
            Turn.objects.filter(pk=row.pk, status=T.QUEUED).update(position=position)
        turn.nudge()


def edit(turn: Turn, prompt: str) -> None:
    """Change a message that has not started; NotPossible once it has."""
    turn.prompt = prompt
    turn.clean()
    with transaction.atomic():
        if not Turn.objects.filter(pk=turn.pk, status=T.QUEUED).update(prompt=prompt):
            raise NotPossible("This message has started already. Send another one, or interrupt it.")
        turn.nudge()


def withdraw(turn: Turn) -> None:
    """Take back a message that has not started, with its files; NotPossible once it has."""
    files = [attachments.place(file.path) for file in turn.attachments.all()]
    with transaction.atomic():
        gone, _ = Turn.objects.filter(pk=turn.pk, status=T.QUEUED).delete()
        if not gone:
            raise NotPossible("This message has started already. You can interrupt it.")
        live.nudge(*turn.topics())
        transaction.on_commit(lambda: attachments.remove(files))


def interrupt(sandbox: Sandbox, user: User | None) -> None:
    """Stop the running turn, not the machine; NotPossible when nothing runs."""
    with transaction.atomic():
        asked = Job.objects.filter(turn__sandbox=sandbox, status__in=Job.LIVE).update(stop_reason=Reason.INTERRUPTED)
        if not asked:
            raise NotPossible("Nothing runs that could be interrupted.")
        sandbox.nudge()
        Sandbox.poke(sandbox.pk)


def advance(sandbox: Sandbox) -> None:
    """Judge a turn that has ended, save its work, then start the next one."""
    turn = sandbox.turns.filter(status=T.RUNNING).select_related("job").first()
    if turn and not settle(turn, sandbox):
        return
    if starved(sandbox):
        return
    taking.advance(sandbox)
    following = sandbox.turns.filter(status=T.QUEUED).order_by("position", "pk").first()
    if following and admitted(following, sandbox) and begin(following, sandbox):
        settle(following, sandbox)


def starved(sandbox: Sandbox) -> bool:
    """Whether the memory was not enough for the last turn: then there is no other, only its work to be saved."""
    last = sandbox.turns.exclude(status=T.QUEUED).order_by("position", "pk").last()
    return last is not None and last.reason == Reason.MEMORY


def admitted(turn: Turn, sandbox: Sandbox) -> bool:
    """Whether a turn may run; what may not waits in a machine that is put to sleep."""
    turn.sandbox = sandbox
    if not any(admission(turn) for admission in registries.admissions):
        return True
    limits.suspend(sandbox, Reason.BUDGET)
    return False


def stopped(sandbox: Sandbox) -> bool:
    """Whether no turn runs any more; one that does not end in time sleeps with its machine."""
    turn = sandbox.turns.filter(status=T.RUNNING).select_related("job").first()
    if turn is None or settle(turn, sandbox):
        return True
    return sandbox.stop_by is not None and sandbox.stop_by < timezone.now()


def begin(turn: Turn, sandbox: Sandbox) -> bool:
    """From the queue into work; False when it was withdrawn meanwhile."""
    with transaction.atomic():
        job = jobs.create(sandbox, Job.Kind.TURN, context_of(turn, sandbox))
        labels = Sandbox.objects.values_list("labels", flat=True).get(pk=sandbox.pk)
        if turn.move(T.RUNNING, job=job, started_at=timezone.now(), labels=labels):
            return True
        job.delete()
        return False


def context_of(turn: Turn, sandbox: Sandbox) -> dict[str, Any]:
    """What a turn's parser begins with, for a tool that has one; not every CLI says which model it was."""
    if not AGENTS[sandbox.tool].structured:
        return {}
    return {
        "session": sandbox.session.get("id", ""),
        "baseline": sandbox.session.get("baseline", {}),
        "model": turn.model or sandbox.designer_model,
    }


def settle(turn: Turn, sandbox: Sandbox) -> bool:
    """Do what the running turn needs now; True when it is over."""
    job = turn.job
    if job is None:
        return turn.move(T.FAILED, reason=Reason.INTERNAL, detail="Its command is missing.", ended_at=timezone.now())
    job.sandbox = sandbox
    if job.status == Job.Status.STARTING or (job.status == Job.Status.RUNNING and job.stop_reason):
        act(job, e2b.machine_of(sandbox))
    if job.status in Job.LIVE:
        return False
    verdict = judge(job)
    answer = contracts.read(turn, sandbox) if contracts.due(turn, verdict) else None
    with transaction.atomic():
        conclude(turn, job, contracts.judged(turn, verdict, answer))
        if not sandbox.reads_only:
            taking.plan(sandbox, Checkpoint.Cause.TURN, turn)
        if answer and answer.error:
            contracts.ask_again(turn, answer.error)
    sandbox.refresh_from_db()
    return True


def conclude(turn: Turn, job: Job, verdict: Verdict) -> None:
    """The turn of an ended job: how it went, what it used, and where the agent's conversation goes on."""
    with transaction.atomic():
        turn.move(
            verdict.status,
            reason=verdict.reason,
            detail=verdict.detail,
            ended_at=timezone.now(),
            usage=transcripts.usage(job),
            answer=turn.answer,
        )
        Sandbox.objects.filter(pk=job.sandbox_id).update(
            active_at=timezone.now(), session=transcripts.session(job, job.sandbox.session)
        )


def act(job: Job, machine: e2b.Machine) -> None:
    """Start a job that has not started, ask one to end that somebody interrupted."""
    if job.status == Job.Status.STARTING:
        attachments.hand_over(job.turn, machine)
        setting.bring(job.turn, machine)
        jobs.start(job, machine)
    elif job.stop_reason:
        jobs.ask_stop(job, machine, "stopped")


REASONS: dict[str, Verdict] = {
    "stopped": Verdict(T.INTERRUPTED, Reason.INTERRUPTED, Reason.sentence(Reason.INTERRUPTED)),
    "deadline": Verdict(T.FAILED, Reason.TIMEOUT, Reason.sentence(Reason.TIMEOUT)),
    "silence": Verdict(T.FAILED, Reason.SILENCE, Reason.sentence(Reason.SILENCE)),
    "memory": Verdict(T.FAILED, Reason.MEMORY, Reason.sentence(Reason.MEMORY)),
    "disk": Verdict(T.FAILED, Reason.DISK, Reason.sentence(Reason.DISK)),
}


def judge(job: Job) -> Verdict:
    """How the turn of an ended job went."""
    if job.status == Job.Status.LOST:
        return Verdict(T.FAILED, Reason.LOST, Reason.sentence(Reason.LOST))
    if job.exit_reason == "stopped" and job.stop_reason == Reason.BUDGET:
        return Verdict(T.INTERRUPTED, Reason.BUDGET, Reason.sentence(Reason.BUDGET))
    if job.exit_reason:
        return REASONS.get(job.exit_reason) or Verdict(
            T.FAILED, Reason.EXIT, job.detail or f"It ended: {job.exit_reason}."
        )
    ended = Exit(job.exit_code, job.exit_signal, job.exit_reason)
    return AGENTS[job.sandbox.tool].judge(ended, transcripts.found(job))


def close(sandbox: Sandbox, reason: str) -> None:
    """The machine is over: a turn that came to its end is judged by it, the others are interrupted."""
    for turn in sandbox.turns.filter(status__in=Turn.OPEN).select_related("job"):
        turn.sandbox = sandbox
        fields: dict[str, Any] = {"ended_at": timezone.now()}
        if turn.job and turn.job.status == Job.Status.EXITED:
            turn.job.sandbox = sandbox
            conclude(turn, turn.job, contracts.judged(turn, judge(turn.job), None))
        else:
            detail = Reason.sentence(Reason.KILLED if turn.status == T.RUNNING else reason)
            turn.move(T.INTERRUPTED, reason=reason, detail=detail, **fields)
