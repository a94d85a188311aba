"""The record of one sandbox, as its page and its socket both show it; complete also after its machine is gone."""

from collections import defaultdict
from datetime import timedelta
from statistics import median
from typing import Any

from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from codecourier.models import Project
from personas.briefing import Briefing
from personas.models import ModelChoice

from . import attachments, e2b
from .agents import AGENTS
from .bill import bill
from .models import Checkpoint, Job, Phase, PullRequest, Sandbox, Turn
from .price import Prices
from .publishing.buttons import buttons
from .publishing.discussion import discussion
from .remarks import remarks

# How many past boots of the project say what is usual, and how few don't.
USUAL_OF = 20
USUAL_MIN = 3
SLACK = timedelta(seconds=2)
# Labels that say nothing to people, or what a remark says with a link.
NUMBERS = {"run", "follows_run", "step", "step_kind", "candidate", "learnings"}
PARTS = ("heading", "notice", "source", "timeline", "queue", "work", "facts")
TABS = {
    "conversation": "Conversation",
    "output": "Output",
    "terminal": "Terminal",
    "files": "Files",
    "changes": "Changes",
    "previews": "Previews",
    "timeline": "Timeline",
    "injected": "Injected",
    "usage": "Usage",
}


def record(sandbox: Sandbox, chosen: str = "", tab: str = "") -> dict[str, Any]:
    """Everything that the page shows. `chosen` is the id of the job whose output is wanted, empty for the newest."""
    jobs = list(sandbox.jobs.select_related("turn"))
    turns = list(sandbox.turns.select_related("created_by", "job").prefetch_related("attachments"))
    phases, history, prices = phases_of(sandbox, jobs), list(sandbox.history), Prices.recalling(sandbox)
    job = next((job for job in jobs if str(job.pk) == chosen), None)
    return {
        "sandbox": sandbox,
        "project": sandbox.project,
        "phases": phases,
        "boot": boot(sandbox, phases),
        "phase": next((phase for phase in phases if phase.status == Phase.Status.RUNNING), None),
        "failed_phase": next((phase for phase in phases if phase.status == Phase.Status.FAILED), None),
        "jobs": [{"job": entry, "label": label(entry, turns)} for entry in reversed(jobs)],
        "job": job or (jobs[-1] if jobs else None),
        "follows": job is None,
        "turns": turns,
        "queue": [turn for turn in turns if turn.status == Turn.Status.QUEUED],
        "working": next((turn for turn in turns if turn.status == Turn.Status.RUNNING), None),
        "history": history,
        "prices": prices,
        "injected": SimpleLazyObject(lambda: Briefing.from_json(sandbox.briefing)),
        "undelivered": sandbox.briefing.get("undelivered", []),
        "isolation": e2b.isolation_of(sandbox.provider) if sandbox.provider else e2b.isolation(sandbox.project),
        "resources": resources(jobs),
        "ran_since": timezone.now() - sandbox.ran if sandbox.running_since else None,
        "tab": opened(sandbox, tab, job),
        "tabs": TABS,
        "agent": AGENTS[sandbox.tool],
        "models": SimpleLazyObject(lambda: ModelChoice.offered(sandbox.tool)),
        "limits": {"file": attachments.FILE_BYTES, "message": attachments.MESSAGE_BYTES},
        "bill": bill(sandbox, turns, phases, history, prices),
        **work_of(sandbox),
        "last": next((turn for turn in reversed(turns) if turn.model or turn.effort), None),
        "remarks": remarks([sandbox])[sandbox.pk],
        "labels": {name: said for name, said in sandbox.labels.items() if name not in NUMBERS and name[-3:] != "_id"},
    }


def work_of(sandbox: Sandbox) -> dict[str, Any]:
    """What is saved of its work, where that is by now, and what can be done about it."""
    rows = list(sandbox.checkpoints.order_by("-id")[:20])
    pull: PullRequest | None = getattr(sandbox, "pull_request", None)  # without a query where it was read along
    saved = next((row for row in rows if row.status == Checkpoint.Status.STORED), None)
    last = next((row for row in rows if row.final), None)
    work = {
        "saved": saved,
        "saving": next((row for row in rows if not row.final), None),
        # The last word on the work is that it could not be saved.
        "lost": last if last and last.status == Checkpoint.Status.FAILED else None,
        "buttons": buttons(pull, bool(saved and sandbox.repository_url)),
        "shown": bool(rows or pull),
        "discussion": discussion(pull) if pull else [],
    }
    return {"pull": pull, "work": work}


def opened(sandbox: Sandbox, tab: str, job: Job | None) -> str:
    """The tab that is asked for, else the one that says most: what a script does is what it prints."""
    if tab in TABS:
        return tab
    return "output" if job or not AGENTS[sandbox.tool].structured else "conversation"


def phases_of(sandbox: Sandbox, jobs: list[Job]) -> list[Phase]:
    """The boot's phases, each with what is usual here and the job that printed its log."""
    usually = usual(sandbox.project)
    logs = {job.kind: job for job in jobs if job.kind != Job.Kind.TURN}
    phases = list(sandbox.phases.all())
    for phase in phases:
        phase.__dict__["usual"] = usually.get(phase.name)
        phase.__dict__["job"] = logs.get(phase.name)
        phase.__dict__["slow"] = slow(phase)
    return phases


def slow(phase: Phase) -> bool:
    """Whether it takes, or took, so much longer than usual that somebody should know."""
    usually, took = phase.__dict__["usual"], phase.took
    return bool(usually and took) and took > 2 * usually + SLACK


def boot(sandbox: Sandbox, phases: list[Phase]) -> dict[str, Any]:
    """Since when it goes on, or how long it took in all, and what is usual for what it does."""
    begun = [phase for phase in phases if phase.started_at]
    usually = [phase.__dict__["usual"] for phase in phases if phase.status != Phase.Status.SKIPPED]
    booting = sandbox.status == Sandbox.Status.CREATING
    return {
        "since": begun[0].started_at if begun and booting else None,
        "took": sum((phase.took or timedelta() for phase in begun), timedelta()) if begun and not booting else None,
        "usual": sum(usually, timedelta()) if usually and all(usually) else None,
    }


def usual(project: Project) -> dict[str, timedelta]:
    """The median time of each phase over the project's last boots, where there were enough of them."""
    took = defaultdict[str, list[float]](list)
    for name, started, ended in _past(project):
        if len(took[name]) < USUAL_OF:
            took[name].append((ended - started).total_seconds())
    return {name: timedelta(seconds=median(times)) for name, times in took.items() if len(times) >= USUAL_MIN}


def _past(project: Project) -> QuerySet[Phase, tuple[Any, ...]]:
    done = Phase.objects.filter(sandbox__project=project, status=Phase.Status.SUCCEEDED)
    return done.order_by("-id").values_list("name", "started_at", "ended_at")[: USUAL_OF * len(Phase.Name)]


def label(job: Job, turns: list[Turn]) -> str:
    """What a job is called in the selector."""
    position = next((number for number, turn in enumerate(turns, 1) if turn.job_id == job.pk), 0)
    if not position:
        return str(job.get_kind_display())
    lines = turns[position - 1].prompt.strip().splitlines() or [""]
    return f"Turn {position}: {lines[0][:60]}"


def resources(jobs: list[Job]) -> dict[str, Any]:
    """What the commands used, as the courier measured it: CPU in seconds, the highest memory in bytes."""
    peaks = [job.max_rss_kb for job in jobs if job.max_rss_kb is not None]
    return {
        "cpu_seconds": sum(job.cpu_seconds or 0 for job in jobs),
        "peak_bytes": max(peaks) * 1024 if peaks else None,
        "bytes": sum(job.bytes for job in jobs),
        "lines": sum(job.lines for job in jobs),
    }


def fragments(context: dict[str, Any]) -> dict[str, str]:
    """The live parts, by name."""
    shown = {**context, "live": True}
    return {name: render_to_string(f"sandboxes/sandbox_detail.html#{name}", shown) for name in PARTS}
