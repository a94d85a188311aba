"""Commands in a machine: each is a job of the courier, started here, followed and ended by the relay."""

import json
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from . import attachments, contracts, courier, e2b, keys
from .agents import AGENTS, Command, Task
from .models import TIMEOUT_MS, Job, Phase, Sandbox
from .repository import clone_command
from .stock import preferred

COURIER = f"{e2b.HOME}/.courier"
PROJECT = f"{e2b.HOME}/project"
# In a job's folder: what the courier is to run.
SPEC = "spec.json"
# What the courier needs to end a command and the relay to hear of it.
MARGIN = timedelta(seconds=30)
ASK_AGAIN = timedelta(seconds=5)


def folder(job: Job) -> str:
    """The job's own folder in the machine."""
    return f"{COURIER}/jobs/{job.pk}"


def create(sandbox: Sandbox, kind: str, context: dict[str, Any] | None = None) -> Job:
    """The row of a job that is to start; call it in the transaction that makes it needed."""
    limit = None if kind == Job.Kind.TURN else Phase.LIMITS[Phase.Name(kind)]
    deadline = timezone.now() + limit + MARGIN if limit else None
    job = Job.objects.create(
        sandbox=sandbox, kind=kind, status=Job.Status.STARTING, deadline_at=deadline, context=context or {}
    )
    job.record("", job.status, job.created_at)
    return job


def command(job: Job) -> Command:
    """What a job runs, from its sandbox's row: the same however often it is asked."""
    sandbox = job.sandbox
    if job.kind == Job.Kind.CLONE:
        return clone_command(sandbox, PROJECT, shipped=bool(job.context.get("shipped")))
    if job.kind == Job.Kind.TURN:
        return AGENTS[sandbox.tool].turn(task(job))
    text = sandbox.template.install if job.kind == Job.Kind.INSTALL else sandbox.setup_script
    return AGENTS["script"].turn(Task(text, folder(job)))


def task(job: Job) -> Task:
    """What a turn's agent is asked, from rows."""
    sandbox, turn = job.sandbox, job.turn
    return Task(
        prompt=turn.prompt,
        folder=folder(job),
        model=turn.model or sandbox.designer_model or preferred(sandbox.tool),
        effort=turn.effort or sandbox.effort,
        session=job.context.get("session", ""),
        fresh_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{settings.DEPLOYMENT}/jobs/{job.pk}")),
        system_prompt=sandbox.briefing.get("system_prompt", ""),
        endpoints=keys.endpoints(sandbox),
        attachments=attachments.paths(turn),
    )


def start(job: Job, machine: e2b.Machine) -> None:
    """Have the courier run it; a second start of the same job finds it running (or over) and changes nothing."""
    what = command(job)
    if job.kind == Job.Kind.TURN:
        _renew_keys(job.sandbox, machine)
    spec = {
        "argv": what.argv,
        "cwd": e2b.HOME if job.kind == Job.Kind.CLONE else PROJECT,
        "env": {**what.env, **contracts.variables(job)},
        "deadline_s": _seconds(job),
        "silence_s": job.sandbox.silence_seconds,
        "background": "keep" if job.kind == Job.Kind.TURN else "kill",
    }
    machine.write({**what.files, f"{folder(job)}/{SPEC}": json.dumps(spec).encode()}, "hand over the command")
    variables = {variable.name: variable.value for variable in job.sandbox.project.variables.all()}
    envs = {**variables, **what.secret_env}
    # In this one process's environment: no file, argument or shell of the machine has it.
    machine.run(courier.command("start", str(job.pk)), "start the command", envs=envs)
    job.move(Job.Status.RUNNING, deadline_at=job.deadline_at)


def _renew_keys(sandbox: Sandbox, machine: e2b.Machine) -> None:
    """Have the machine's requests carry the keys of now: they may have changed since it was made."""
    network = keys.network(sandbox, local=sandbox.provider == e2b.LOCAL)
    if network is not None:
        machine.set_network(network)


def _seconds(job: Job) -> float:
    """The courier's own deadline: with a dead portal the command ends all the same.

    A turn's is the latest that its sandbox's can be moved to; at its own, the portal ends it.
    """
    if job.kind != Job.Kind.TURN:
        return Phase.LIMITS[Phase.Name(job.kind)].total_seconds()
    longest = timedelta(milliseconds=TIMEOUT_MS[1])
    return max(longest - job.sandbox.ran + MARGIN, MARGIN).total_seconds()


def ask_stop(job: Job, machine: e2b.Machine, reason: str) -> None:
    """Tell the courier to end it; its exit comes the usual way. Asked again while it hasn't come."""
    now = timezone.now()
    if job.stop_asked_at and job.stop_asked_at > now - ASK_AGAIN:
        return
    grace = max(1, int(settings.STOP_GRACE.total_seconds() / 3))
    machine.run(courier.command("stop", str(job.pk), "--grace", str(grace), "--reason", reason), "stop the command")
    Job.objects.filter(pk=job.pk).update(stop_asked_at=now)


def abandon(job: Job) -> None:
    """It has not started and need not any more."""
    job.move(Job.Status.LOST, reason="killed", ended_at=timezone.now())


def lose(sandbox: Sandbox, reason: str) -> None:
    """The machine is gone: what was still running there is lost."""
    for job in sandbox.jobs.filter(status__in=Job.LIVE):
        with transaction.atomic():
            job.move(Job.Status.LOST, reason=reason, ended_at=timezone.now())
