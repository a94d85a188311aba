"""Boot: template -> create -> clone -> install -> setup-script -> inject -> agent-cli, each phase re-entrant.

`advance` looks at the phase that is next, does what it can without waiting, and returns; the end of a
phase's job brings it back. A phase function returns True when its phase is over.
"""

import shlex
from collections.abc import Callable, Iterator
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from codecourier import live
from personas.briefing import Briefing

from . import courier, e2b, jobs, keys, preparation, protection, sizes, slots
from .agents import AGENTS
from .checkpoints.store import COMMIT
from .models import Job, Phase, PublishingSettings, Sandbox
from .models.pull import fill
from .reasons import Reason
from .repository import explain, hand_over

P = Phase.Status
# On the PATH of every command in a machine.
PROGRAMS = f"{e2b.HOME}/.local/bin"
# While what a machine is made from is prepared.
LOOK_AGAIN = timedelta(seconds=1)
# The first start of a large program on a busy machine.
VERSION_SECONDS = 100.0
# Set in machines of hosts that have a gateway to model endpoints.
GATEWAY = "CODECOURIER_GATEWAY"


class BootFailed(e2b.ProviderError):
    """A phase can't be got through; the sentence says why."""

    final = True

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = Reason(reason)


def advance(sandbox: Sandbox) -> bool:
    """Bring the boot as far as it goes now; True when the sandbox runs. BootFailed when it can't be got through."""
    for phase in sandbox.phases.exclude(status__in=[P.SUCCEEDED, P.SKIPPED]):
        phase.sandbox = sandbox
        if phase.status == P.WAITING:
            if not wanted(sandbox, phase):
                phase.end(P.SKIPPED, detail="Nothing to do.")
                continue
            phase.start()
        if timezone.now() > (phase.deadline_at or timezone.now()):
            fail(phase, Reason.OVERDUE, f"{phase.get_name_display()} took longer than it may ({_minutes(phase)}).")
        if not STEPS[phase.name](sandbox, phase):
            return False
    return sandbox.enter(Sandbox.Status.RUNNING)


def _minutes(phase: Phase) -> str:
    return f"{Phase.LIMITS[Phase.Name(phase.name)].total_seconds() / 60:.0f} min"


def wanted(sandbox: Sandbox, phase: Phase) -> bool:
    """Whether a phase has anything to do for this sandbox."""
    if phase.name == Phase.Name.TEMPLATE:
        return preparation.needed(sandbox)
    asks = {
        Phase.Name.CLONE: sandbox.repository_url or sandbox.continues_id,
        Phase.Name.INSTALL: sandbox.template.install.strip(),
        Phase.Name.SETUP: sandbox.setup_script.strip(),
    }
    return bool(asks.get(Phase.Name(phase.name), True))


def fail(phase: Phase, reason: str, sentence: str) -> None:
    """End the phase as failed and give the boot up."""
    phase.end(P.FAILED, reason=reason, detail=sentence)
    raise BootFailed(reason, sentence)


def prepare(sandbox: Sandbox, phase: Phase) -> bool:
    """What the machine is made from; its log is the phase's."""
    stand = preparation.look(sandbox, phase)
    say(phase, stand.log)
    if stand.failed:
        fail(phase, Reason.SETUP_FAILED, stand.failed)
    if stand.done:
        return phase.end(P.SUCCEEDED, detail=stand.detail)
    sandbox.look_again = timezone.now() + LOOK_AGAIN
    return False


def make_machine(sandbox: Sandbox, phase: Phase) -> bool:
    """The machine, by idempotency key: asked again after a crash, the provider answers with the same one."""
    provider = e2b.provider_of(sandbox.project)
    if not sandbox.provider_id and not _admitted(sandbox, phase, provider):
        return False
    if sandbox.real_cpu is None:
        _measure(sandbox, provider)
    machine = e2b.machine_of(sandbox)
    machine.write({f"{jobs.COURIER}/courier.py": courier.SOURCE}, "hand over the courier")
    if lines := list(_first_lines(sandbox, provider)):
        machine.run("\n".join(["set -e", *lines]), "make the working folder")
    return phase.end(
        P.SUCCEEDED, detail=f"{e2b.isolation_of(provider.name)}, {sandbox.real_cpu} CPU, {sandbox.real_memory_mb} MB"
    )


def _admitted(sandbox: Sandbox, phase: Phase, provider: e2b.Provider) -> bool:
    """Ask for the machine when it is its turn; a provider that has no room after all costs no time either."""
    if place := slots.take(sandbox, provider):
        slots.wait(sandbox, phase, place, provider)
        return False
    if phase.deadline_at is None:
        slots.proceed(sandbox, phase)
    try:
        _create(sandbox, provider)
    except e2b.Busy:
        slots.proceed(sandbox, phase)
        raise
    except e2b.Gone:
        sizes.forget(sandbox, provider)
        name = e2b.template_name(sandbox)
        fail(phase, Reason.SETUP_FAILED, f"The provider has no template {name} (any more). Start the sandbox again.")
    return True


def _first_lines(sandbox: Sandbox, provider: e2b.Provider) -> Iterator[str]:
    """What a bare machine needs: a working folder, and where the local host shows the agent's programs, links."""
    if not sandbox.repository_url and not sandbox.continues_id:
        yield f"git init -q -b main {jobs.PROJECT}"
    place = preparation.place_of(sandbox)
    if place and provider.name == e2b.LOCAL:
        yield f"mkdir -p {PROGRAMS}"
        for program, path in place.links.items():
            yield f"ln -sfn {path} {PROGRAMS}/{program}"


def _create(sandbox: Sandbox, provider: e2b.Provider) -> None:
    machine = e2b.create(
        provider,
        template=e2b.template_name(sandbox),
        metadata={"codecourier": settings.DEPLOYMENT, "sandbox": str(sandbox.pk)},
        envs={},
        key=f"{settings.DEPLOYMENT}-sandbox-{sandbox.pk}".lower().replace(".", "-"),
        network=keys.network(sandbox, local=provider.name == e2b.LOCAL),
    )
    # At once, whatever the row's status is by now: a final row with a machine is what the sweep removes.
    now = timezone.now()
    fields = {"provider": provider.name, "provider_id": machine.id, "kept_until": _kept_until(), "machine_since": now}
    Sandbox.objects.filter(pk=sandbox.pk).update(**fields)
    sandbox.refresh_from_db()
    vars(sandbox)["_machine"] = machine


def _measure(sandbox: Sandbox, provider: e2b.Provider) -> None:
    """Note the size that it has, which is what it costs: a step of its own, which a crash after the machine leaves."""
    said = e2b.info(provider, sandbox.provider_id)
    sandbox.real_cpu, sandbox.real_memory_mb = said.cpu, said.memory_mb
    sandbox.save(update_fields=["real_cpu", "real_memory_mb"])


def _kept_until() -> object:
    return timezone.now() + settings.PROVIDER_TIMEOUT / 2


def clone(sandbox: Sandbox, phase: Phase) -> bool:
    """The repository into the machine, then the machine's own part of it."""
    if not sandbox.jobs.filter(kind=phase.name).exists():
        stand = hand_over(sandbox, phase.started_at or timezone.now())
        say(phase, stand.log)
        if not stand.done:
            sandbox.look_again = timezone.now() + LOOK_AGAIN
            return False
        with transaction.atomic():
            jobs.create(sandbox, phase.name, {"shipped": stand.shipped})
    return run_job(sandbox, phase)


def say(phase: Phase, log: str) -> None:
    """What is done for a phase outside the machine, shown as its log."""
    if Phase.objects.filter(pk=phase.pk).exclude(log=log).update(log=log):
        live.nudge(*phase.topics())


def run_job(sandbox: Sandbox, phase: Phase) -> bool:
    """A phase that is one command in the machine."""
    job = _job(sandbox, phase.name)
    if job.status == Job.Status.STARTING:
        jobs.start(job, e2b.machine_of(sandbox))
        return False
    if job.status == Job.Status.RUNNING:
        return False
    if not job.succeeded:
        fail(phase, *why(sandbox, phase, job))
    return phase.end(P.SUCCEEDED)


def _job(sandbox: Sandbox, kind: str) -> Job:
    with transaction.atomic():
        found = sandbox.jobs.filter(kind=kind).first()
        return found or jobs.create(sandbox, kind)


def why(sandbox: Sandbox, phase: Phase, job: Job) -> tuple[str, str]:
    """Reason and sentence of a failed phase."""
    if job.status == Job.Status.LOST:
        return Reason.LOST, Reason.sentence(Reason.LOST)
    name = phase.get_name_display()
    if job.exit_reason in {"deadline", "silence"}:
        limit = _minutes(phase) if job.exit_reason == "deadline" else f"{sandbox.silence_seconds} s of silence"
        return Reason.OVERDUE, f"{name} was stopped after {limit}."
    if job.exit_reason in {"memory", "disk"}:
        return job.exit_reason, Reason.sentence(job.exit_reason)
    if job.exit_reason:
        return Reason.SETUP_FAILED, f"{name} did not get through: {job.detail or job.exit_reason}."
    if phase.name == Phase.Name.CLONE:
        return Reason.CLONE_FAILED, explain(sandbox, job.pk)
    end = f"signal {job.exit_signal}" if job.exit_signal else f"exit status {job.exit_code}"
    return Reason.SETUP_FAILED, f"{name} ended with {end}. Its output says why."


def inject(sandbox: Sandbox, phase: Phase) -> bool:
    """Files and git settings, outside the repository's history."""
    machine = e2b.machine_of(sandbox)
    files = brief(sandbox)
    variables = [(variable.name, variable.value) for variable in sandbox.project.variables.all()]
    if variables:
        files[f"{jobs.COURIER}/env"] = dotenv(variables).encode()
    if files:
        machine.write(files, "hand over files and environment")
    start = machine.run(_prepare(sandbox), "prepare the working folder").strip()
    began = {"work_branch": work_branch(sandbox), "start_commit": start if COMMIT.match(start) else ""}
    Sandbox.objects.filter(pk=sandbox.pk).update(**began)
    sandbox.refresh_from_db(fields=list(began))
    if sandbox.reads_only:
        protection.protect(sandbox)
    told = [f"{len(variables)} variables in .env"] * bool(variables) + ["clone read-only"] * sandbox.reads_only
    return phase.end(P.SUCCEEDED, detail=", ".join(told))


def brief(sandbox: Sandbox) -> dict[str, bytes]:
    """The briefing as files, in the agent's own form; what it has no place for is noted on the sandbox."""
    briefing = Briefing.from_json(sandbox.briefing)
    made = AGENTS[sandbox.tool].inject(briefing)
    noted = {**sandbox.briefing, "undelivered": [list(entry) for entry in made.undelivered]}
    Sandbox.objects.filter(pk=sandbox.pk).update(briefing=noted)
    return {**made.files, **{f"{PROGRAMS}/{script.name}": script.text.encode() for script in briefing.scripts}}


def _prepare(sandbox: Sandbox) -> str:
    project = sandbox.project
    scripts = [f"{PROGRAMS}/{script['name']}" for script in sandbox.briefing.get("scripts", [])]
    return "\n".join(
        [
            "set -e",
            *([f"chmod +x {shlex.join(scripts)}"] if scripts else []),
            f"cd {jobs.PROJECT}",
            f"git config --global user.name {shlex.quote(project.git_name)}",
            f"git config --global user.email {shlex.quote(project.git_email)}",
            # A tracked .env is the team's own and stays as it is.
            f"if [ -f {jobs.COURIER}/env ] && ! git ls-files --error-unmatch .env >/dev/null 2>&1; then",
            f"mv {jobs.COURIER}/env .env; mkdir -p .git/info",
            "grep -qx .env .git/info/exclude || echo .env >> .git/info/exclude",
            "fi",
            f"git checkout -q -B {shlex.quote(work_branch(sandbox))} {shlex.quote(sandbox.at_commit)}".removesuffix(
                " ''"
            ),
            "git rev-parse -q --verify HEAD || true",
        ]
    )


def work_branch(sandbox: Sandbox) -> str:
    """What the sandbox's work is committed on: where it was told, else by the project's pattern."""
    if sandbox.work_branch:
        return sandbox.work_branch
    values = {"kind": sandbox.kind, "id": str(sandbox.pk), "title": slugify(sandbox.title)[:40]}
    return fill(PublishingSettings.of(sandbox.project).branch_pattern, values).rstrip("-/.")


def dotenv(variables: list[tuple[str, str]]) -> str:
    """The text of a `.env` file; values are double-quoted where they have to be."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in variables)


def _quoted(value: str) -> str:
    if value and all(char.isalnum() or char in "-_./:@%+,=" for char in value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", "\\n")
    return f'"{escaped}"'


def check_agent(sandbox: Sandbox, phase: Phase) -> bool:
    """The CLI answers with its version before anything is asked of it.

    Ours have answered when they were installed, at the pinned version, and are lent read-only: there it is enough that
    they are in the machine. To start one takes up to two seconds, before every first turn.
    """
    machine = e2b.machine_of(sandbox)
    agent = AGENTS[sandbox.tool]
    place = preparation.place_of(sandbox) if sandbox.provider == e2b.LOCAL else None
    check = f"ls {' '.join(place.links.values())} > /dev/null && echo {place.package.version}" if place else agent.check
    said = machine.run(f'echo "${GATEWAY}"\n{check}', f"find {agent.name} in the machine", seconds=VERSION_SECONDS)
    gateway, _, version = said.partition("\n")
    told = {"gateway": gateway.strip()[:200], "tool_version": version.strip()[:200]}
    Sandbox.objects.filter(pk=sandbox.pk).update(**told)
    # The first turn may start in this very step, and asks for the gateway.
    sandbox.refresh_from_db()
    return phase.end(P.SUCCEEDED, detail=told["tool_version"])


STEPS: dict[str, Callable[[Sandbox, Phase], bool]] = {
    Phase.Name.TEMPLATE: prepare,
    Phase.Name.CREATE: make_machine,
    Phase.Name.CLONE: clone,
    Phase.Name.INSTALL: run_job,
    Phase.Name.SETUP: run_job,
    Phase.Name.INJECT: inject,
    Phase.Name.AGENT: check_agent,
}
