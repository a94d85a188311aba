"""Sandboxes as a whole: what people ask of them, and `advance`, which brings one to what is wanted.

launch ──> advance: boot ──> run turns ──> idle: pause ──> message: wake ──> ... ──> end ──> release
stop, pause, wake only write the wish (`wanted`) and enqueue; every step looks first, then acts.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from codecourier import live
from codecourier.lifecycle import Later
from codecourier.models import Project, User
from personas import briefing
from personas.briefing import Briefing
from personas.models import Persona

from . import boot, e2b, jobs, limits, sessions, slots, turns
from .checkpoints import taking
from .models import TIMEOUT_MS, Checkpoint, Job, Kind, Phase, Sandbox, Template, Turn, Wanted
from .reasons import Reason

logger = logging.getLogger(__name__)

S = Sandbox.Status
# So many unexpected exceptions in a row end a sandbox; with the back-off that is about a minute.
GIVE_UP = 6
# What failed without harm for now.
TRY_AGAIN = timedelta(seconds=10)
# A click on "more time", in ms.
EXTENSION_MS = 30 * 60_000
# Activity is written down so often.
TOUCH_EVERY = timedelta(seconds=10)


NotPossible = turns.NotPossible


def launch(
    project: Project,
    user: User | None,
    *,
    template: Template,
    prompt: str = "",
    persona: Persona | None = None,
    pinned: Briefing | None = None,
    request_key: str | None = None,
    contract: str = "",
    files: Sequence[UploadedFile] = (),
    **fields: Any,
) -> Sandbox:
    """A new sandbox, its boot enqueued. ValidationError names the field that is wrong.

    The same `request_key` again gives the sandbox made the first time. A `pinned` briefing goes before what the
    persona brings today. The first message has to be answered by `contract`, and has `files`.
    """
    if request_key and (known := Sandbox.objects.filter(project=project, request_key=request_key).first()):
        return known
    told = pinned or briefing.brief(project, persona)
    sandbox = Sandbox(
        project=project,
        created_by=user,
        template=template,
        tool=template.tool,
        status=S.CREATING,
        briefing=told.to_json(),
        labels=labels_of(persona, told) | fields.pop("labels", {}),
        title=title_of(prompt),
        request_key=request_key,
        **fields,
    )
    sandbox.deadline_at = timezone.now() + Sandbox.DEADLINES[S.CREATING]
    sandbox.due_at = timezone.now() + timedelta(seconds=5)
    check(sandbox, prompt)
    with transaction.atomic():
        sandbox.save()
        sandbox.record("", sandbox.status, sandbox.created_at)
        Phase.objects.bulk_create(
            Phase(sandbox=sandbox, name=name, position=position, status=Phase.Status.WAITING)
            for position, name in enumerate(Phase.Name)
        )
        if prompt:
            turns.queue(sandbox, user, prompt, files=files, contract=contract)
        sandbox.nudge()
        Sandbox.poke(sandbox.pk)
    return sandbox


def labels_of(persona: Persona | None, told: Briefing) -> dict[str, Any]:
    """What the ledger and the lessons know a sandbox by; whoever makes it may add to them."""
    labels: dict[str, Any] = (
        {"persona": persona.name, "persona_id": persona.pk, "role": persona.role} if persona else {}
    )
    return labels | ({"learnings": told.learnings} if told.learnings else {})


def title_of(prompt: str) -> str:
    """The first line that says something."""
    lines = (line.strip().lstrip("# ") for line in prompt.splitlines() if not line.startswith("#!"))
    return next((line for line in lines if line), "")[:120]


def check(sandbox: Sandbox, prompt: str) -> None:
    """Refuse a configuration that could not work, field by field."""
    # Of two forms with one mark the database lets one through; the other is answered with what that one made.
    sandbox.full_clean(exclude=["created_by", "wanted_by", "request_key"], validate_constraints=False)
    if not sandbox.template.active:
        raise ValidationError({"template": f"The template {sandbox.template} is not offered any more. Choose another."})
    if prompt:
        Turn(sandbox=sandbox, prompt=prompt).clean()
    if said := limits.refused(sandbox.project, sandbox.created_by, sandbox.labels):
        raise ValidationError({NON_FIELD_ERRORS: f"Nothing was started. {said}"})


def stop(sandbox: Sandbox, user: User | None, reason: str = Reason.USER) -> None:
    """End it, work saved first; asked again while that goes on, at once. Never fails, whatever the provider does."""
    with transaction.atomic():
        if not sandbox.want(Wanted.KILL, reason=reason, by=user):
            sandbox.hurry()
        Sandbox.poke(sandbox.pk)


def pause(sandbox: Sandbox, user: User | None, reason: str = Reason.USER) -> None:
    """Put it to sleep with its memory; NotPossible unless it runs."""
    if sandbox.status != S.RUNNING or sandbox.wanted == Wanted.KILL:
        raise NotPossible("Only a running sandbox can be paused.")
    with transaction.atomic():
        sandbox.want(Wanted.PAUSE, reason=reason, by=user)
        Sandbox.poke(sandbox.pk)


def wake(sandbox: Sandbox, user: User | None) -> None:
    """Have it run again; NotPossible when it is over."""
    if sandbox.final or sandbox.wanted == Wanted.KILL:
        raise NotPossible("This sandbox is over. Start a new one to go on.")
    if said := limits.refused(sandbox.project, user, sandbox.labels):
        raise NotPossible(f"It sleeps on. {said}")
    with transaction.atomic():
        sandbox.want(Wanted.RUN, by=user)
        Sandbox.objects.filter(pk=sandbox.pk).update(active_at=timezone.now())
        Sandbox.poke(sandbox.pk)


def touch(sandbox: Sandbox) -> None:
    """Somebody uses its machine by another way than messages: it is not idle."""
    now = timezone.now()
    Sandbox.objects.filter(pk=sandbox.pk, active_at__lt=now - TOUCH_EVERY).update(active_at=now)


def extend(sandbox: Sandbox, user: User | None, ms: int = EXTENSION_MS) -> None:
    """More running time, as far as the limit goes; NotPossible when it is reached or the sandbox is over."""
    longest = TIMEOUT_MS[1]
    with transaction.atomic():
        row = Sandbox.objects.select_for_update().get(pk=sandbox.pk)
        if row.final or row.wanted == Wanted.KILL:
            raise NotPossible("This sandbox is over. Start a new one to go on.")
        if not row.extendable:
            raise NotPossible(f"It has the longest time allowed already, {longest // 60_000} minutes of running time.")
        Sandbox.objects.filter(pk=row.pk).update(timeout_ms=min(row.timeout_ms + ms, longest))
        row.nudge()
        Sandbox.poke(row.pk)


def trash(sandbox: Sandbox, user: User | None) -> None:
    """Into the trash; a living one is stopped first. Restorable until it is purged."""
    with transaction.atomic():
        if not sandbox.final:
            stop(sandbox, user)
        Sandbox.objects.filter(pk=sandbox.pk, deleted_at=None).update(deleted_at=timezone.now())
        sandbox.nudge()


def restore(sandbox: Sandbox, user: User | None) -> None:
    """Out of the trash."""
    with transaction.atomic():
        Sandbox.objects.filter(pk=sandbox.pk).update(deleted_at=None)
        sandbox.nudge()


def retitle(sandbox: Sandbox, title: str) -> None:
    """Another title; ValidationError when it is empty or too long."""
    sandbox.title = title.strip()
    if not sandbox.title:
        raise ValidationError({"title": "A sandbox needs a title."})
    sandbox.clean_fields(exclude=[field.name for field in Sandbox._meta.fields if field.name != "title"])
    with transaction.atomic():
        Sandbox.objects.filter(pk=sandbox.pk).update(title=sandbox.title)
        sandbox.nudge()


def advance(sandbox: Sandbox) -> None:
    """Bring one sandbox, leased to the caller, as far as it goes now; every exception ends up in its row."""
    try:
        step(sandbox)
    except e2b.Gone:
        bury(sandbox)
    except e2b.ProviderError as error:
        if error.final or (sandbox.status == S.CREATING and isinstance(error, e2b.CommandFailed)):
            finish(sandbox, S.ERROR, error.reason, str(error))
        else:
            postpone(sandbox, error)
    except Exception:
        if sandbox.attempts < GIVE_UP or sandbox.final:
            raise
        logger.exception("Sandbox %s is given up", sandbox.pk)
        finish(sandbox, S.ERROR, Reason.INTERNAL)


def postpone(sandbox: Sandbox, error: e2b.ProviderError) -> None:
    """A fault that may pass: said on the page, tried again after the lease's back-off."""
    logger.warning("Sandbox %s: %s", sandbox.pk, error)
    if sandbox.status == S.CREATING:
        sandbox.phases.filter(status=Phase.Status.RUNNING).update(detail=f"{error} Trying again.")
        live.nudge(f"sandbox:{sandbox.pk}")
    raise Later(str(error)) from error


def step(sandbox: Sandbox) -> None:
    """One look at what is wanted and where it is, and what follows from that."""
    if sandbox.final:
        release(sandbox)
    elif sandbox.wanted == Wanted.KILL:
        end(sandbox)
    elif sandbox.deadline_at and sandbox.deadline_at < timezone.now():
        finish(sandbox, S.ERROR, Reason.OVERDUE, "The boot took longer than it may.")
    elif sandbox.status == S.CREATING:
        if boot.advance(sandbox):
            run(sandbox)
    elif sandbox.status == S.PAUSED:
        sleep_on(sandbox)
    elif sandbox.wanted == Wanted.PAUSE:
        lay_down(sandbox)
    else:
        run(sandbox)


def run(sandbox: Sandbox) -> None:
    """What a running sandbox needs now: its clock, its machine, its turns, its sleep."""
    if sandbox.time_left == timedelta():
        stop(sandbox, None, Reason.TIMEOUT)
        end(sandbox)
        return
    lost = sandbox.jobs.filter(status=Job.Status.LOST, turn__status=Turn.Status.RUNNING)
    if not sandbox.kept_until or sandbox.kept_until <= timezone.now() or lost.exists():
        keep(sandbox)
    cross_session(sandbox)
    turns.advance(sandbox)
    starved = turns.starved(sandbox)
    if starved or over(sandbox):
        stop(sandbox, None, Reason.MEMORY if starved else Reason.FINISHED)
        end(sandbox)
        return
    # As it is by now: somebody may have come meanwhile.
    sandbox.refresh_from_db(fields=["active_at"])
    idle_at = sandbox.idle_at()
    if idle_at and idle_at <= timezone.now():
        sandbox.want(Wanted.PAUSE, reason=Reason.IDLE)
        lay_down(sandbox)
    elif session_ends := sessions.due_at(sandbox):
        sandbox.look_again = max(session_ends, timezone.now() + TRY_AGAIN)


def over(sandbox: Sandbox) -> bool:
    """A service session ends with its work; what it answered and changed is kept by then."""
    done = sandbox.kind in Kind.services() and sandbox.turns.exists() and not sandbox.turns.unfinished().exists()
    return done and not sandbox.checkpoints.open().exists()


def cross_session(sandbox: Sandbox) -> None:
    """Renew a session that is near its end; one that can't be paused just now runs on, and it is tried again."""
    session_ends = sessions.due_at(sandbox)
    if session_ends is None or session_ends > timezone.now():
        return
    try:
        sessions.renew(sandbox)
    except (e2b.Gone, e2b.Denied):
        raise
    except e2b.ProviderError as error:
        logger.warning("Sandbox %s: its session could not be renewed: %s", sandbox.pk, error)


def keep(sandbox: Sandbox) -> None:
    """See that the machine is there and push the provider's own timeout ahead."""
    provider = e2b.provider_of(sandbox.project)
    if e2b.info(provider, sandbox.provider_id).state == "paused":
        e2b.connect(provider, sandbox.provider_id)
        sessions.begin(sandbox)
    e2b.extend(provider, sandbox.provider_id)
    Sandbox.objects.filter(pk=sandbox.pk).update(kept_until=timezone.now() + settings.PROVIDER_TIMEOUT / 2)


def lay_down(sandbox: Sandbox) -> None:
    """Save the work, then pause the machine with its memory; one that can't be paused in time runs on and says so."""
    if sandbox.wanted_reason == Reason.BUDGET and not turns.stopped(sandbox):
        return
    try:
        save(sandbox, Checkpoint.Cause.PAUSE)
        e2b.pause(e2b.provider_of(sandbox.project), sandbox.provider_id)
    except (e2b.Gone, e2b.Denied):
        raise
    except e2b.ProviderError:
        if sandbox.stop_by and sandbox.stop_by > timezone.now():
            raise
        logger.warning("Sandbox %s could not be paused and runs on", sandbox.pk)
        Sandbox.objects.filter(pk=sandbox.pk).update(active_at=timezone.now())
        sandbox.want(Wanted.RUN, reason=Reason.PROVIDER_ERROR)
        return
    sandbox.enter(S.PAUSED, reason=sandbox.wanted_reason)


def sleep_on(sandbox: Sandbox) -> None:
    """A paused one: woken when it is wanted, ended after its days."""
    if sandbox.wanted == Wanted.RUN:
        if get_up(sandbox):
            run(sandbox)
    elif sandbox.status_at < timezone.now() - timedelta(days=settings.PAUSED_DAYS):
        stop(sandbox, None, Reason.IDLE)
        end(sandbox)


def get_up(sandbox: Sandbox) -> bool:
    """Resume the machine, its clock goes on; False when the plan has no room for it yet."""
    try:
        if not slots.room_to_wake(sandbox):
            raise e2b.Busy("As many sandboxes run as the plan allows.")
        e2b.machine_of(sandbox)
    except e2b.Busy:
        slots.wait_asleep(sandbox)
        return False
    Sandbox.objects.filter(pk=sandbox.pk).update(active_at=timezone.now())
    sandbox.enter(S.RUNNING)
    # What the relay left alone while it slept goes on being followed.
    sessions.begin(sandbox)
    return True


def end(sandbox: Sandbox) -> None:
    """Save what is being printed, for as long as there is time, then kill the machine."""
    if sandbox.stop_by and timezone.now() < sandbox.stop_by and sandbox.provider_id:
        if not drained(sandbox):
            return
        if sandbox.status == S.RUNNING:
            save(sandbox, Checkpoint.Cause.END)
        e2b.kill(e2b.provider_of(sandbox.project), sandbox.provider_id)
        Sandbox.objects.filter(pk=sandbox.pk).update(released_at=timezone.now())
    conclude(sandbox)
    release(sandbox)


def drained(sandbox: Sandbox) -> bool:
    """Whether every command has ended with its output stored; asks those that run to end."""
    working = list(sandbox.jobs.filter(status__in=Job.LIVE))
    if not working:
        return True
    if sandbox.status == S.PAUSED and not get_up(sandbox):
        return False
    try:
        machine = e2b.machine_of(sandbox)
        for job in working:
            if job.status == Job.Status.STARTING:
                jobs.abandon(job)
            else:
                jobs.ask_stop(job, machine, "stopped")
    except (e2b.Gone, e2b.Denied):
        return True
    return not sandbox.jobs.filter(status__in=Job.LIVE).exists()


def save(sandbox: Sandbox, cause: str) -> None:
    """A checkpoint of what there is now, in the time that is left; a machine that is gone has no more to save."""
    if sandbox.reads_only:
        return
    taking.plan(sandbox, cause)
    left = sandbox.stop_by - timezone.now() if sandbox.stop_by else settings.STOP_GRACE
    taking.advance(sandbox, max(left.total_seconds(), 1))


def conclude(sandbox: Sandbox) -> None:
    """Killed, in the rows: by the reason it was wanted for. Needs no provider."""
    finish(sandbox, S.KILLED, sandbox.wanted_reason or Reason.USER)


def finish(sandbox: Sandbox, status: str, reason: str, detail: str = "") -> None:
    """The end of a sandbox and of all that was open in it, in one transaction; its machine is released after."""
    with transaction.atomic():
        if not sandbox.enter(status, reason=reason, detail=detail):
            return
        jobs.lose(sandbox, reason)
        turns.close(sandbox, reason)
        taking.close(sandbox)
        for phase in sandbox.phases.filter(status=Phase.Status.RUNNING):
            phase.end(Phase.Status.FAILED, reason=reason, detail=detail or Reason.sentence(reason))
        Sandbox.objects.filter(pk=sandbox.pk).update(due_at=timezone.now())
        if not sandbox.released_at:
            Sandbox.poke(sandbox.pk)


def bury(sandbox: Sandbox) -> None:
    """Its machine is gone: by what the provider remembers, killed for memory or disk, else lost."""
    if sandbox.final or sandbox.wanted == Wanted.KILL:
        Sandbox.objects.filter(pk=sandbox.pk).update(released_at=timezone.now())
        if not sandbox.final:
            conclude(sandbox)
        return
    said = e2b.epitaph(e2b.provider_of(sandbox.project), sandbox.provider_id)
    Sandbox.objects.filter(pk=sandbox.pk).update(released_at=timezone.now())
    if said in {Reason.MEMORY, Reason.DISK}:
        finish(sandbox, S.KILLED, said)
    else:
        finish(sandbox, S.ERROR, Reason.LOST)


def release(sandbox: Sandbox) -> None:
    """Kill what a final row may still have; it is looked at again until its machine is known to be gone."""
    sandbox.refresh_from_db()
    if sandbox.released_at:
        return
    if sandbox.provider_id:
        e2b.kill(e2b.provider_of(sandbox.project), sandbox.provider_id)
    elif sandbox.create_asked_at and sandbox.create_asked_at > timezone.now() - timedelta(seconds=e2b.CREATE_SECONDS):
        return  # It may be under way still; the sweep over the provider's machines finds what it made.
    Sandbox.objects.filter(pk=sandbox.pk).update(released_at=timezone.now())
