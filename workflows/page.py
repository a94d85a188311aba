"""The page of one run, as it and its socket show it; a constant number of questions, however many steps it has."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, QuerySet
from django.template.loader import render_to_string

from codecourier import markdown, registries
from learnings import remarks
from personas.briefing import LEARNINGS
from personas.roles import ROLES
from sandboxes import attachments
from sandboxes.agents import AGENTS
from sandboxes.bill import Bill, bills
from sandboxes.models import Sandbox
from sandboxes.publishing.buttons import buttons
from sandboxes.spending import removed

from . import answers, changes, costs, estimates, pipeline
from .axis import axis
from .models import Picture, Run, StepRun
from .pipeline import standing
from .plan import block_of
from .reasons import Reason

TABS = {"conversation": "At work", "told": "What it was told", "answer": "What it answered", "changes": "Changes"}
PARTS = ("heading", "notice", "pipeline", "step", "source", "told", "answer", "say", "work", "facts", "axis")
# What may be long and is shown of one step only.
LONG = (
    "prompt", "output", "sandbox__briefing", "sandbox__setup_script", "sandbox__session", "turn__prompt",
    "turn__answer", "turn__usage",
)  # fmt: skip
SOURCES = 40


def runs() -> QuerySet[Run]:
    """Runs with what their page needs beside them."""
    retries = Run.objects.filter(retry_of=OuterRef("pk")).order_by("pk").values("pk")
    names = Picture.objects.filter(run=OuterRef("pk")).values("name")
    related = ("project", "workflow", "created_by", "cancelled_by", "retry_of", "checkpoint__sandbox")
    return Run.objects.select_related(*related).annotate(made=ArraySubquery(retries), shown=ArraySubquery(names))


def page(run: Run, params: Mapping[str, str]) -> dict[str, Any]:
    """Everything. `step_run` in the parameters pins a step; without it the one at work is shown."""
    rows = steps(run)
    row = pick(rows, params.get("step_run", ""))
    machines = machines_of(run)
    bill = bills([one for one in machines if one.labels.get("run_id") == run.pk])
    spent = spending(run, rows, bill)
    return {
        "run": run, "project": run.project, "row": row, "pinned": bool(row and params.get("step_run") == str(row.pk)),
        "units": pipeline.draw(run, rows, spent["by_row"], row), "spent": spent,
        "axis": axis(run, rows, {pk: made.phases for pk, made in bill.items()}),
        "followers": [one for one in machines if one.pk not in bill],
        "tabs": TABS, "tab": opened(row, params.get("tab", "")), "reason": Reason.sentence(run.reason),
        "limits": {"file": attachments.FILE_BYTES, "message": attachments.MESSAGE_BYTES},
        "listener": listener(run, rows), "failed": at_fault(run, rows),
        **looked_at(run, row, spent["by_row"]), **facts(run, rows), **work(run, row),
    }  # fmt: skip


def steps(run: Run) -> list[StepRun]:
    """All rows with what the page shows of each."""
    related = ("sandbox", "turn", "checkpoint", "base", "dropped")
    rows = list(run.step_runs.select_related(*related).defer(*LONG).order_by("id"))
    for row in rows:
        row.run = run
        if row.sandbox:
            row.sandbox.project = run.project
    return rows


def pick(rows: Sequence[StepRun], asked: str) -> StepRun | None:
    """The row that is asked for, else the first at work, else the newest that is no test."""
    known = {str(row.pk): row for row in rows}
    active = next((row for row in rows if row.status in StepRun.OPEN), None)
    plain = [row for row in rows if row.kind != StepRun.Kind.TEST]
    return known.get(asked) or active or next(reversed(plain or rows), None)


def chosen(run: Run, asked: str) -> StepRun | None:
    """The same without the page."""
    return pick(steps(run), asked)


def opened(row: StepRun | None, asked: str) -> str:
    """The tab that is asked for, else the one that says most: the answer of a step that has given one."""
    if asked in TABS:
        return asked
    return "answer" if row and row.final and isinstance(row.answer, dict) else "conversation"


def machines_of(run: Run) -> list[Sandbox]:
    """Those that worked on it, and those in which somebody went on with its result."""
    mine = Q(labels__contains={"run_id": run.pk}) | Q(labels__contains={"follows_run": run.pk})
    rows = Sandbox.objects.filter(mine, project=run.project).defer("briefing", "setup_script", "session")
    return list(rows.order_by("id"))


def spending(run: Run, rows: Sequence[StepRun], made: Mapping[int, Bill]) -> dict[str, Any]:
    """What was spent: by row, by step with its machine, and in all."""
    by_row, by_step = costs.of_rows(rows, made), dict[tuple[str, int], costs.Spent]()
    for row in rows:
        key = (name_of(row), row.step)
        by_step[key] = by_step.get(key, costs.Spent()) + by_row.get(row.pk, costs.Spent())
    parts = [(name, cost) for (name, _), cost in by_step.items()]
    if any(row.started_at and not row.sandbox_id for row in rows):
        for cost, tokens in removed([run.pk]).values():
            parts.append(("Deleted sandboxes", costs.Spent(cost, tokens, cost.usd)))
    return {"by_row": by_row, "by_step": parts, "total": sum((cost for _, cost in parts), costs.Spent())}


def name_of(row: StepRun) -> str:
    """What a row's step is called in the list of costs: its tests and its judge apart."""
    if row.kind in {StepRun.Kind.STEP, StepRun.Kind.EVALUATOR}:
        return str(row.spec["name"])
    return f"{row.run.manifest['steps'][row.step]['name']}: {row.get_kind_display().lower()}"


def looked_at(run: Run, row: StepRun | None, spent: Mapping[int, costs.Spent]) -> dict[str, Any]:
    """What is shown of the chosen step."""
    if row is None:
        return {"script": False, "answer": None, "card": None}
    spec, block = row.spec, block_of(run.manifest, row.step)
    script = row.kind == StepRun.Kind.TEST or not AGENTS[spec["tool"]].structured
    long = StepRun.objects.filter(pk=row.pk).values("prompt", "output").get()
    return {
        "card": pipeline.Card(spec, row, letter=row.letter, spent=spent.get(row.pk, costs.Spent())),
        "state": standing(row), "role": ROLES.get(spec["role"], ROLES["custom"]), "script": script,
        "answer": answers.read(row), "dropped": changes.dropped(run, row),
        "told": long["prompt"] if script else markdown.rendered(long["prompt"]), "told_anything": bool(long["prompt"]),
        "said": "" if script else markdown.rendered(long["output"]), "printed": long["output"] if script else "",
        "most": block["most"] if block and row.kind != StepRun.Kind.EVALUATOR else 0,
        "job": row.turn.job_id if row.turn else None, "again": retryable(run, row),
    }  # fmt: skip


def retryable(run: Run, row: StepRun) -> bool:
    """Whether the run can go on from this step in a new one."""
    return run.final and row.kind != StepRun.Kind.EVALUATOR


def at_fault(run: Run, rows: Sequence[StepRun]) -> StepRun | None:
    """The row that a run failed at: what failed last, else the verdict that did not pass."""
    if run.status != Run.Status.FAILED:
        return None
    mine = [row for row in reversed(rows) if row.kind != StepRun.Kind.EVALUATOR]
    broken = next((row for row in mine if row.status == StepRun.Status.FAILED), None)
    return broken or next((row for row in mine if row.verdict == "fail"), None)


def listener(run: Run, rows: Iterable[StepRun]) -> StepRun | None:
    """Who gets a message that is sent now (as `runs.active`): the row at work, else the newest whose machine lives."""
    alive = [row for row in rows if row.sandbox and not row.sandbox.final and row.sandbox.wanted != "kill"]
    newest = sorted((row for row in alive if not row.reused), key=lambda row: (row.sandbox_id or 0, row.pk))
    working = [row for row in newest if row.status in StepRun.OPEN]
    return None if run.final else next(reversed(working or newest), None)


def facts(run: Run, rows: Sequence[StepRun]) -> dict[str, Any]:
    """What stands beside it."""
    parts = pinned(run)
    told = [version for kind, _, version in parts["assets"] if kind == LEARNINGS]
    return {
        "origin": next((said for ask in registries.origins if (said := ask(run))), None),
        "retries": run.__dict__["made"], "pictures": run.__dict__["shown"],
        "score": next((answers.read(row) for row in reversed(rows) if row.kind == StepRun.Kind.EVALUATOR), None),
        "estimate": estimates.pinned(run),
        "pinned_parts": parts, "asked": markdown.rendered(run.prompt),
        "remarks": remarks.of_run(run.project, run.pk, told, run.final),
        "took": run.took if run.ended_at else None, "reused": sum(row.reused for row in rows),
    }  # fmt: skip


def pinned(run: Run) -> dict[str, Any]:
    """The manifest, for people: who does each step with what, and the versions of all that they are told."""
    agents = [one for step in run.manifest["steps"] for one in (step["candidates"] or [step])]
    judges = [step["judge"] for step in run.manifest["steps"] if step["judge"]]
    evaluator = run.manifest.get("evaluator")
    every = [*agents, *judges, *([evaluator] if evaluator and evaluator.get("briefing") else [])]
    sources = (source for one in every for source in one["briefing"].get("sources", []))
    assets = dict.fromkeys((one["kind"], one["name"], one["version"]) for one in sources if one["version"])
    clis = dict.fromkeys((AGENTS[one["tool"]].name, one["version"]) for one in every if one["version"])
    people = dict.fromkeys((one["persona"], AGENTS[one["tool"]].name, one["model"], one["effort"]) for one in every)
    return {"people": list(people), "assets": list(assets)[:SOURCES], "clis": list(clis)}


def work(run: Run, row: StepRun | None) -> dict[str, Any]:
    """Where the branch is by now, and what can be done about it. `head` changes whenever more is saved."""
    pull = run.pull_request
    left = (row.checkpoint or row.base) if row else None
    can_push = bool(run.final and run.checkpoint_id and run.repository_url and run.checkpoint_id != run.continues_id)
    return {
        "pull": pull, "buttons": buttons(pull, can_push) if run.final else [],
        "head": f"{row.pk if row else ''}-{left.commit if left else ''}",
    }  # fmt: skip


def fragments(context: dict[str, Any]) -> dict[str, str]:
    """The live parts, by name."""
    shown = {**context, "live": True}
    return {name: render_to_string(f"workflows/run_detail.html#{name}", shown) for name in PARTS}
