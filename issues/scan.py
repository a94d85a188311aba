"""Sessions that look for issues: what they are asked, and how their findings become cards.

launch ──> sandbox on a read-only clone ──> answer by contract ──> take: cards, duplicates, questions
"""

from typing import Any

from django.core.exceptions import ValidationError

from codecourier.models import Project, User

from . import cards, duplicates, sessions
from .contract import FINDINGS, Findings
from .models import PRIORITIES, Issue, IssueSession, IssueSettings, Question

PROMPT = (
    "Read this repository and report what is wrong with it: bugs, missing checks and error handling, security "
    "problems, races, broken or missing tests, documentation that misleads. Look at the code itself before you believe "
    "what is said about it.\n\n"
    "Report only what you can point at in a file, each problem once, and no matters of taste. Give every issue a "
    "prompt that a colleague who knows nothing of this session could work from. Ask what only a person can decide as a "
    "question; what you took for true without being able to check it, list as an assumption."
)


def prompt_of(project: Project) -> str:
    """The project's own, else the stock text."""
    return sessions.config_of(project, IssueSession.Kind.SCAN).prompt.strip() or PROMPT


def launch(
    project: Project,
    user: User | None,
    *,
    prompt: str = "",
    scope: list[str] | None = None,
    most: int | None = None,
    request_key: str | None = None,
) -> IssueSession:
    """A new session; what is left open comes from the settings. ValidationError says what is wrong.

    The same `request_key` again gives the session made the first time.
    """
    if request_key and (known := IssueSession.objects.filter(project=project, request_key=request_key).first()):
        return known
    chosen = IssueSettings.of(project)
    session = IssueSession(
        project=project, created_by=user, kind=IssueSession.Kind.SCAN, request_key=request_key,
        prompt=prompt.strip() or prompt_of(project), scope=chosen.paths if scope is None else scope,
        most=most or chosen.most, threshold=chosen.threshold,
    )  # fmt: skip
    for path in session.scope:
        if path.startswith("/") or ".." in path.split("/") or len(path) > 300:
            raise ValidationError({"scope": f"{path[:80]!r} is no path in the repository: write it from its top."})
    return sessions.begin(session, asked(session), FINDINGS, f"Issues: {named(session)}")


def named(session: IssueSession) -> str:
    """What its sandbox is called."""
    return ", ".join(session.scope) or "the whole repository"


def asked(session: IssueSession) -> str:
    """The message: the prompt, where to look, and how much is wanted."""
    parts = [session.prompt]
    if session.scope:
        parts.append("Look only at these paths:\n\n" + "\n".join(f"- `{path}`" for path in session.scope))
    parts.append(f"Report at most {session.most} issues, the most urgent ones first.")
    return "\n\n".join(parts)


def take(session: IssueSession, answer: dict[str, Any]) -> None:
    """Findings into rows, in the caller's transaction; sets the session's counts."""
    found = Findings.model_validate(answer)
    order = sorted(range(len(found.issues)), key=lambda place: (PRIORITIES[found.issues[place].priority], place))
    made = {place: card(session, found.issues[place]) for place in order[: session.most]}
    session.summary = found.summary
    session.duplicates = sum(issue.duplicate_of_id is not None for issue in made.values())
    session.added = len(made) - session.duplicates
    session.left_out = len(found.issues) - len(made)
    for question in found.questions:
        put(session, made, question, kind=Question.Kind.QUESTION, why=question.why)
    for assumed in found.assumptions:
        put(session, made, assumed, kind=Question.Kind.ASSUMPTION, answer=assumed.text, confidence=assumed.confidence)


def card(session: IssueSession, finding: Any) -> Issue:
    """One card, set apart when it seems to repeat another."""
    issue = Issue(
        project=session.project, session=session, created_by=session.created_by, status=Issue.Status.NEW,
        title=finding.title, description=finding.description, priority=PRIORITIES[finding.priority],
        suggested_prompt=finding.suggested_prompt, files=list(dict.fromkeys(filter(None, finding.files))),
        labels=list(dict.fromkeys(filter(None, finding.labels))),
    )  # fmt: skip
    if twin := duplicates.find(issue, session.threshold / 100):
        issue.duplicate_of, issue.similarity = twin
    cards.store(issue)
    return issue


def put(session: IssueSession, made: dict[int, Issue], said: Any, **fields: Any) -> None:
    """A question or an assumption, with the cards that it is about."""
    status = Question.Status.ANSWERED if fields.get("answer") else Question.Status.OPEN
    row = Question(project=session.project, session=session, text=said.text, status=status, **fields)
    row.save()
    row.record("", row.status, row.created_at)
    row.issues.set([made[number] for number in said.issues if number in made])
