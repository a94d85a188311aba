"""A shop whose agents made mistakes: the same rows for pictures and for the browser."""

from typing import Any

from codecourier.models import Project, User
from learnings import compiling, extraction
from learnings.models import Extraction, Lesson
from sandboxes.models import Sandbox, Template
from tests.sandboxes.pages import make
from tests.sandboxes.talking import call, result, text, turn_of

Words = tuple[str, str, str, str, str, list[str]]
APPROVED: list[Words] = [
    ("Changing shop.py", "Run python3 -m unittest -v and paste its last line into your answer.",
     "A wrong sign in the discount was pushed because nobody ran the tests", "critical", "testing", []),
    ("Adding a field to a model", "Write a migration in the same commit and name it.",
     "Two branches had migrations of the same number and none of the two could be merged", "high", "process",
     ["designer", "optimizer"]),
    ("Judging a change of prices", "Compute one example by hand and name it in the verdict.",
     "The checker passed a total that was off by a factor", "high", "correctness", ["checker"]),
    ("Needing a database", "Use the one that tests/conftest.py starts; none is installed.",
     "The agent spent eleven minutes on installing PostgreSQL", "medium", "tooling", []),
    ("Writing a price", "Keep it in cents as an integer; format it in templates only.",
     "Sums of floats were off by a cent", "medium", "knowledge", ["designer"]),
]  # fmt: skip
PENDING: list[dict[str, Any]] = [
    {"description": "The agent said that all tests pass, but had run only the file it had changed; two others broke.",
     "trigger": "Changing anything in shop.py",
     "behaviour": "Run python3 -m unittest -v for the whole project before you say that the tests pass.",
     "severity": "critical", "category": "testing", "roles": []},
    {"description": "A person had to ask twice for the changelog entry that CONTRIBUTING.md asks for.",
     "trigger": "Finishing a change that users notice", "severity": "medium", "category": "process",
     "behaviour": "Add a line under Unreleased in CHANGELOG.md.", "roles": ["designer"]},
    {"description": "pip install was tried five times; the machine has no route to that index.",
     "trigger": "A package is missing", "behaviour": "Use uv sync; the lock file has all that is needed.",
     "severity": "low", "category": "tooling", "roles": []},
]  # fmt: skip


def work(project: Project, user: User) -> Sandbox:
    """A sandbox in which a person had to correct the agent."""
    template = Template.objects.get(slug="claude")
    made = make(project, template, "killed", title="Discounts make orders dearer", created_by=user, reason="user",
                detail="Somebody asked for it.", designer_model="claude-sonnet-5-5")  # fmt: skip
    turn_of(
        made, "The discount makes orders dearer instead of cheaper. Mend it and show that the tests pass.",
        text("I will look at the shop first."), call(1, "Bash", command="python3 -m unittest test_shop"),
        result(1, "Ran 2 tests in 0.001s\n\nOK"), text("The sign was wrong. **All tests pass.**"),
        by=user, status="succeeded",
    )  # fmt: skip
    turn_of(
        made, "You only ran one file. test_basket.py fails now!", call(2, "Bash", command="python3 -m unittest -v"),
        result(2, "FAIL: test_total (test_basket.Basket)\nAssertionError: 120 != 80\n\nFAILED (failures=1)", code=1),
        text("You are right: the basket had the old sign, too. Both are mended, 14 tests pass."), by=user,
        status="succeeded",
    )  # fmt: skip
    return made


def fill(project: Project, user: User) -> Lesson:
    """Lessons, versions and readings; the lesson that the pictures show."""
    sandbox = work(project, user)
    for when, then, why, severity, category, roles in APPROVED:
        Lesson.objects.create(
            project=project, status="approved", trigger=when, behaviour=then, description=why, roles=roles,
            severity=Lesson.Severity[severity.upper()], category=category, created_by=user, decided_by=user,
        )  # fmt: skip
    compiling.compile_now(project, user, "What the first month taught", activate=True)
    Sandbox.objects.filter(pk=sandbox.pk).update(labels={"learnings": 1})
    second, row = sandbox.turns.all()[1], extraction.begin(project, [sandbox], labels={}, failed=True, looped=True)
    extraction.advance(row)
    places = [f"{second.pk}.0", f"{second.pk}.2"]
    answer = {"lessons": [PENDING[0] | {"evidence": places}, *PENDING[1:]]}
    row.session.turns.update(status="succeeded", answer=answer)  # type: ignore[union-attr]
    extraction.advance(row)
    Lesson.objects.filter(trigger="Writing a price").update(status="rejected")
    other = make(project, sandbox.template, "killed", title="Baskets of nothing", created_by=user)
    failed = extraction.begin(project, [other], labels={}, failed=True)
    detail = "What the agent answered does not have the form that was asked for. Lessons: Field required."
    Extraction.objects.filter(pk=failed.pk).update(status="failed", detail=detail)
    return Lesson.objects.pending().get(severity=4)
