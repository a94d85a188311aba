"""What a run's pull request says: the task, what was done, verdicts, score, cost, and where it came from. Redacted."""

from collections.abc import Iterator

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from codecourier.redact import Redactor

from . import costs
from .models import Run, StepRun
from .prompts import said_by

TITLE, ASKED, SUMMARY = 120, 4_000, 8_000


def title(run: Run) -> str:
    """One line."""
    return Redactor(run.project.secrets()).redact_text(" ".join(str(run).split()))[:TITLE]


def body(run: Run) -> str:
    """Markdown."""
    rows = list(run.step_runs.filter(kind__in=["step", "judge", "evaluator"]).order_by("id"))
    context = {
        "run": run,
        "asked": [line.rstrip() for line in run.prompt.strip()[:ASKED].splitlines()],
        "summary": summary(rows),
        "verdicts": [row for row in rows if row.verdict],
        "choices": [row for row in rows if row.kind == "judge" and row.answer],
        "score": next((row.answer for row in rows if row.kind == "evaluator" and row.answer), None),
        "steps": list(checklist(run, rows)),
        "cost": costs.words(run),
        "link": f"{settings.BASE_URL}{reverse('workflows:run', args=[run.project.slug, run.pk])}",
    }
    text = render_to_string("workflows/pull_request.md", context).strip()
    return Redactor(run.project.secrets()).redact_text(text)


def summary(rows: list[StepRun]) -> str:
    """The last words of the last step that wrote."""
    wrote = [row for row in rows if row.kind == "step" and row.status == "succeeded" and row.spec["writes"]]
    text = said_by(wrote[-1]).strip() if wrote else ""
    return text if len(text) <= SUMMARY else f"{text[:SUMMARY]}\n\n(shortened)"


def checklist(run: Run, rows: list[StepRun]) -> Iterator[dict[str, object]]:
    """Each step once: whether it is done, and in how many iterations."""
    for number, spec in enumerate(run.manifest["steps"]):
        mine = [row for row in rows if row.kind == "step" and row.step == number]
        last = mine[-1] if mine else None
        done = last is not None and last.status == "succeeded" and last.verdict != "fail"
        yield {"name": spec["name"], "done": done, "iterations": last.iteration if last else 0, "tool": spec["tool"]}
