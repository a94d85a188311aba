"""Work of an agent that is over, and lessons about it."""

from collections.abc import Callable
from typing import Any

import pytest

from codecourier.models import Project, User
from learnings import extraction
from learnings.models import Extraction, LearningSettings, Lesson
from sandboxes.models import Sandbox, Template
from tests.sandboxes.pages import make
from tests.sandboxes.talking import call, result, text, turn_of

PROPOSAL: dict[str, Any] = {
    "description": "The tests were not run, so a broken basket was pushed.",
    "trigger": "Changing anything in shop.py",
    "behaviour": "Run python3 -m unittest -v before you commit.",
    "severity": "high", "category": "testing", "roles": [], "evidence": [],
}  # fmt: skip


@pytest.fixture
def claude(db: None) -> Template:
    """The stock template of an agent."""
    return Template.objects.create(slug="claude", name="Claude Code", tool="claude", image="claude")


@pytest.fixture
def worked(project: Project, owner: User, claude: Template) -> Sandbox:
    """A sandbox that is over, in which a person had to correct the agent."""
    sandbox = make(project, claude, "killed", title="Fix the discount", created_by=owner, designer_model="sonnet")
    turn_of(
        sandbox, "Fix the discount.", text("I changed the sign."), call(1, "Bash", command="pytest"),
        result(1, "1 failed: test_total", code=1, error=True), call(2, "Read", path="shop.py"), result(2, "ok"),
        text("All is done."), by=owner, status="succeeded",
    )  # fmt: skip
    turn_of(sandbox, "You did not run the tests!", text("Now I did."), by=owner, status="failed", detail="It failed.")
    return sandbox


@pytest.fixture
def lesson(project: Project) -> Callable[..., Lesson]:
    """Makes lessons; pending ones unless told otherwise."""

    def make(**fields: Any) -> Lesson:
        words = {name: PROPOSAL[name] for name in ("description", "trigger", "behaviour", "category", "roles")}
        given = {"project": project, "status": "pending", "severity": 3, **words, **fields}
        return Lesson.objects.create(**given)

    return make


def choose(project: Project, **fields: Any) -> LearningSettings:
    """The project's choices."""
    row, _ = LearningSettings.objects.update_or_create(project=project, defaults=fields)
    return row


def answered(row: Extraction, *proposals: dict[str, Any]) -> None:
    """Its session has answered so."""
    extraction.advance(row)
    assert row.session, row.detail
    row.session.turns.update(status="succeeded", answer={"lessons": list(proposals)})
    extraction.advance(row)
