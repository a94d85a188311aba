"""Runs as they would stand in the middle of their work, row by row, without a machine."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from codecourier.models import Project, User
from sandboxes.models import Checkpoint, Event, Job, Kind, Phase, Sandbox, Template, Turn
from tests.sandboxes.pages import make as make_sandbox
from workflows.models import Run, StepRun

KINDS = {"judge": Kind.JUDGE, "evaluator": Kind.EVALUATOR}
MODELS = {"claude": "claude-sonnet-4-5", "codex": "gpt-5.1-codex", "script": ""}
CONTRACTS = {"checker": "verdict", "evaluator": "score", "judge": "choice", "planner": "plan"}
WRITERS = {"designer", "optimizer"}
SOURCES = [{"kind": "Skill", "name": "house-style", "version": 3, "digest": "d"}]


def spec(role: str, tool: str = "claude", **fields: Any) -> dict[str, Any]:
    """One step of a manifest."""
    return {
        "name": role.title(), "role": role, "contract": CONTRACTS.get(role, ""), "writes": role in WRITERS,
        "instructions": "", "candidates": [], "judge": None, "test_script": "", "persona": role.title(),
        "persona_id": 0, "tool": tool, "version": "2.0.1", "template": 0, "model": MODELS[tool], "effort": "",
        "cpu": 2, "memory_mb": 1024, "timeout_ms": 3_600_000, "briefing": {"sources": SOURCES}, "script": "", **fields,
    }  # fmt: skip


def several(count: int, **fields: Any) -> dict[str, Any]:
    """A designer of which so many work side by side, tested and judged."""
    each = [spec("designer", "claude" if number % 2 else "codex") for number in range(count)]
    return spec("designer", candidates=each, judge=spec("judge"), test_script="make test", **fields)


def manifest(*steps: dict[str, Any], block: tuple[int, ...] = (), most: int = 3, **fields: Any) -> dict[str, Any]:
    """Of these steps, some of them in a block."""
    return {
        "workflow": {"id": 0, "name": "Design, check, polish"}, "steps": list(steps),
        "blocks": [{"steps": list(block), "most": most}] if block else [], "evaluate": False,
        "evaluator": spec("evaluator"), "publish": "request", "keep_unapproved": True, **fields,
    }  # fmt: skip


def loop(**fields: Any) -> dict[str, Any]:
    """Designer and checker, three times at most, then an optimizer."""
    return manifest(spec("designer"), spec("checker", "codex"), spec("optimizer"), block=(0, 1), **fields)


def make_run(project: Project, user: User | None = None, status: str = "running", **fields: Any) -> Run:
    """A run of a quarter of an hour."""
    now = timezone.now()
    given = {
        "title": "Discounts make orders dearer", "prompt": "A discount should make orders *cheaper*.",
        "manifest": loop(), "work_branch": "codecourier/run-1-discounts", "created_at": now - timedelta(minutes=15),
        "started_at": None if status == "pending" else now - timedelta(minutes=15),
        "ended_at": None if status in Run.OPEN else now, **fields,
    }  # fmt: skip
    return Run.objects.create(project=project, created_by=user, status=status, **given)


def step(
    run: Run, template: Template, number: int = 0, *, began: float = 14, took: float | None = 3, **fields: Any
) -> StepRun:
    """A row with its sandbox and turn, that began so many minutes ago; without `took` it works."""
    start = timezone.now() - timedelta(minutes=began)
    end = start + timedelta(minutes=took) if took is not None else None
    fields.setdefault("status", "running" if end is None else "succeeded")
    sandbox = fields.pop("sandbox", None) or machine(run, template, start, end, fields.get("kind", "step"))
    turn = work(sandbox, start, end, fields.pop("turn_status", ""))
    return StepRun.objects.create(
        run=run, step=number, created_at=start, started_at=start, ended_at=end, sandbox=sandbox, turn=turn,
        **{"prompt": "# The task\n\nMake it cheaper.", **fields},
    )  # fmt: skip


def machine(run: Run, template: Template, start: datetime, end: datetime | None, kind: str) -> Sandbox:
    """The sandbox of a step, with a boot."""
    made = make_sandbox(
        run.project, template, "killed" if end else "running", kind=KINDS.get(kind, Kind.STEP), provider="local",
        labels={"run_id": run.pk, "run": str(run)}, title=f"Step of {run}", created_at=start,
    )  # fmt: skip
    for position, name in enumerate(("create", "clone", "agent-cli")):
        at = start + timedelta(seconds=8 * position)
        Phase.objects.create(
            sandbox=made, name=name, position=position, status="succeeded", started_at=at,
            ended_at=at + timedelta(seconds=8),
        )  # fmt: skip
    return made


def work(sandbox: Sandbox, start: datetime, end: datetime | None, status: str) -> Turn:
    """The turn of a step; what it said is short."""
    job = Job.objects.create(sandbox=sandbox, kind=Job.Kind.TURN, status="exited" if end else "running", events=1)
    Event.objects.create(job=job, seq=1, t_ms=1, kind="text", data={"text": "I look at the **shop** first."})
    used = {"claude-sonnet-4-5": {"input": 1200, "output": 800, "cache_read": 9000, "cache_write": 400, "reasoning": 0}}
    return Turn.objects.create(
        sandbox=sandbox, job=job, prompt="The task", status=status or ("succeeded" if end else "running"),
        started_at=start + timedelta(seconds=24), ended_at=end, usage=used if end else None,
    )  # fmt: skip


def saved(row: StepRun, commit: str = "a" * 40, name: str = "checkpoint") -> Checkpoint:
    """What a row left, as its checkpoint or as what was dropped."""
    assert row.sandbox
    made = Checkpoint.objects.create(sandbox=row.sandbox, cause="person", status="stored", commit=commit, files=2)
    StepRun.objects.filter(pk=row.pk).update(**{name: made})
    setattr(row, name, made)
    return made


def verdict(passed: bool, *findings: dict[str, Any], summary: str = "Looked at all of it.") -> dict[str, Any]:
    """A checker's answer."""
    return {"verdict": "pass" if passed else "fail", "summary": summary, "findings": list(findings)}


def finding(problem: str = "The sign is wrong.", file: str = "shop.py", line: int | None = 2) -> dict[str, Any]:
    """One thing that is wrong."""
    return {"severity": "high", "file": file, "line": line, "problem": problem, "suggestion": "Take it off."}


def score(overall: int = 82) -> dict[str, Any]:
    """An evaluator's answer."""
    side = {"score": overall, "reason": "As it should be."}
    sides = dict.fromkeys(("correctness", "tests", "readability", "scope"), side)
    return {"score": overall, "summary": "Good work.", "dimensions": sides}


def choice(letter: str = "B") -> dict[str, Any]:
    """A judge's answer."""
    said = [{"candidate": one, "strength": "It is short.", "weakness": "No test."} for one in "AB"]
    return {"choice": letter, "reason": "Its tests cover **more**.", "candidates": said}
