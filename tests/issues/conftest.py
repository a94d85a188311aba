"""A project with a repository, and sessions whose agents say what a test wants."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from codecourier import queue
from codecourier.models import Project, User
from issues import cards, scan
from issues.models import Issue, IssueSession
from sandboxes.models import Template, Turn


@pytest.fixture
def claude(db: None) -> Template:
    """An agent that answers by contract."""
    return Template.objects.create(slug="claude", name="Claude", tool="claude", image="claude", memory_mb=2048)


@pytest.fixture
def shop(project: Project, claude: Template) -> Project:
    """The project with a repository to look at."""
    project.repository_url = "https://git.example.com/acme/shop.git"
    project.save()
    return project


@pytest.fixture
def session(shop: Project, member: User) -> IssueSession:
    """One that runs; there is no machine."""
    return scan.launch(shop, member)


def finding(**fields: Any) -> dict[str, Any]:
    """One issue as an agent writes it."""
    return {
        "title": "Total of an empty basket is wrong", "description": "`total([])` raises instead of giving 0.",
        "priority": "high", "suggested_prompt": "Make the total of an empty basket 0.", "files": ["shop/basket.py"],
        **fields,
    }  # fmt: skip


def findings(*issues: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A whole answer."""
    return {"summary": "Read it all.", "issues": list(issues), "questions": [], "assumptions": [], **fields}


def end_turn(turn: Turn, answer: dict[str, Any] | None = None, status: str = "succeeded", **fields: Any) -> None:
    """As if its agent had ended; of the machine, which there is none of, nothing more is asked."""
    OrmQ.objects.all().delete()
    turn.move("running", started_at=timezone.now())
    turn.move(status, answer=answer, ended_at=timezone.now(), **fields)


@pytest.fixture
def answers(work: Callable[[], int]) -> Callable[[IssueSession, dict[str, Any]], IssueSession]:
    """Has a session answer, and everything that follows be done."""

    def give(session: IssueSession, answer: dict[str, Any]) -> IssueSession:
        turn = session.turn
        assert turn
        end_turn(turn, answer)
        work()
        session.refresh_from_db()
        return session

    return give


@pytest.fixture
def card(shop: Project, member: User) -> Callable[..., Issue]:
    """Makes cards."""

    def make(title: str = "Fix the total", **fields: Any) -> Issue:
        return cards.create(shop, member, title=title, **fields)

    return make


@pytest.fixture
def follow(db: None) -> Callable[[], None]:
    """Performs this app's tasks until there are none; whatever machines would be needed for is dropped."""

    def perform() -> None:
        while row := OrmQ.objects.order_by("id").first():
            package: dict[str, Any] = SignedPackage.loads(row.payload)
            row.delete()
            if package["args"][0].startswith("issues."):
                queue.perform(*package["args"])

    return perform
