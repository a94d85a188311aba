"""A row for every address of the portal, so that walks over all of them meet pages and not only refusals."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import Model

from issues.models import Chain, Issue, IssueSession, Link, Question
from learnings import compiling
from learnings.models import Extraction, Lesson
from personas import library
from personas.models import Asset, Persona
from sandboxes import attachments
from sandboxes.models import Attachment, Event, Job, Sandbox, Turn
from tests.workflows.rows import loop, make_run
from usage.models import Budget
from workflows.models import Run, Schedule, Step, Workflow


def workflow_of(sandbox: Sandbox) -> Workflow:
    """One with a step."""
    flow, made = Workflow.objects.get_or_create(project=sandbox.project, name="Flow")
    if made:
        Step.objects.create(
            workflow=flow, persona=Persona.objects.get_or_create(project=sandbox.project, name="Ann")[0]
        )
    return flow


def run_of(sandbox: Sandbox) -> Run:
    """One that is at work."""
    known = Run.objects.filter(project=sandbox.project).first()
    return known or make_run(sandbox.project, manifest=loop())


def schedule_of(sandbox: Sandbox) -> Schedule:
    """One that never comes due in a test."""
    return Schedule.objects.get_or_create(
        project=sandbox.project, workflow=workflow_of(sandbox), name="Nightly", prompt="Go on.",
        next_at=datetime(2099, 1, 1, tzinfo=UTC),
    )[0]  # fmt: skip


def session_of(sandbox: Sandbox) -> IssueSession:
    """One that is done."""
    return IssueSession.objects.get_or_create(project=sandbox.project, status="done", sandbox=sandbox)[0]


def question_of(sandbox: Sandbox) -> Question:
    """One without an answer."""
    return Question.objects.get_or_create(project=sandbox.project, text="Why?", status="open")[0]


def chain_of(sandbox: Sandbox) -> Chain:
    """One that stopped, with a link."""
    chain, made = Chain.objects.get_or_create(
        project=sandbox.project, workflow=workflow_of(sandbox), title="Chain", status="stopped"
    )
    if made:
        Link.objects.create(chain=chain, position=0, status="failed", prompt="Do it.")
    return chain


def issue_of(sandbox: Sandbox) -> Issue:
    """A new card."""
    return Issue.objects.get_or_create(project=sandbox.project, title="Wrong", status="new")[0]


def budget_of(sandbox: Sandbox) -> Budget:
    """The project's; it is far from used up."""
    return Budget.objects.get_or_create(scope="project", project=sandbox.project, amount=Decimal(1000))[0]


# By a part of the address; the first that fits.
MADE: dict[str, Callable[[Sandbox], Model]] = {
    "/workflows/": workflow_of, "/schedules/": schedule_of, "/issues/sessions/": session_of,
    "/issues/questions/": question_of, "/issues/chains/": chain_of, "/issues/": issue_of, "/budgets/": budget_of,
}  # fmt: skip


def subject(route: str, sandbox: Sandbox) -> int:
    """The row that an address is about."""
    if "/personas/" in route:
        return Persona.objects.get_or_create(project=sandbox.project, name="Ann")[0].pk
    if "/assets/" in route:
        asset, made = Asset.objects.get_or_create(project=sandbox.project, kind="context", name="domain")
        if made:
            library.save(asset, None, {asset.main: b"text"}, 0)
            library.publish(asset, None)
        return asset.pk
    if "/learnings/" in route and "/read" not in route:
        return learned(sandbox, "/sessions/" in route)
    if "/read-run/" in route or "/runs/" in route:
        return run_of(sandbox).pk
    return next((make(sandbox).pk for part, make in MADE.items() if part in route), sandbox.pk)


def learned(sandbox: Sandbox, reading: bool) -> int:
    """A lesson that is compiled, or the reading that it came from."""
    lesson, made = Lesson.objects.get_or_create(project=sandbox.project, trigger="Always", status="approved")
    if made:
        compiling.compile_now(sandbox.project, None)
    row, _ = Extraction.objects.get_or_create(project=sandbox.project, key=f"sandbox-{sandbox.pk}", status="done")
    return row.pk if reading else lesson.pk


def attachment(sandbox: Sandbox) -> Attachment:
    """A file that went with its message."""
    place = attachments.place("walked")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"x")
    turn = Turn.objects.get(sandbox=sandbox)
    return Attachment.objects.get_or_create(sandbox=sandbox, turn=turn, name="a.txt", path="walked", size=1)[0]


def filled(route: str, sandbox: Sandbox) -> str:
    values = {
        "<slug:slug>": sandbox.project.slug,
        "<int:pk>": subject(route, sandbox),
        "<int:number>": 1,
        "<int:seq>": 1,
        "<int:port>": 3000,
        "<int:turn>": Turn.objects.get(sandbox=sandbox).pk,
        "<str:token>": "nonsense",
        "<str:tab>": "keys",
        "<str:form>": "csv",
        "<slug:kind>": "patch",
        "<slug:verb>": "push",
    }
    job = Job.objects.get(sandbox=sandbox)
    values["<int:job>"] = job.pk
    if "<int:seq>" in route:
        Event.objects.get_or_create(job=job, seq=1, defaults={"t_ms": 0, "kind": "text", "data": {"text": "said"}})
    if "<int:link>" in route:
        values["<int:link>"] = chain_of(sandbox).links.get().pk
    if "<int:file>" in route:
        values["<int:file>"] = attachment(sandbox).pk
    for name, value in values.items():
        route = route.replace(name, str(value))
    assert "<" not in route, f"This test has no value for a part of {route}; add one."
    return route
