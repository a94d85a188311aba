"""What is done to cards: made, placed, ranked, closed, opened again, merged."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Q, QuerySet

from codecourier.models import Project, User
from sandboxes.turns import NotPossible

from .models import PRIORITIES, Issue, Note, Priority
from .models.card import BAND

S = Issue.Status
# Between two places there is always another, until they are so near.
NEAREST = Decimal(10) ** -15
SPACE = """
UPDATE issues_issue SET rank = spaced.place FROM (
  SELECT id, floor(rank / %(band)s) * %(band)s
    + row_number() OVER (PARTITION BY floor(rank / %(band)s) ORDER BY rank, id) AS place
  FROM issues_issue WHERE project_id = %(project)s
) spaced WHERE spaced.id = issues_issue.id
"""


def create(project: Project, user: User | None, **fields: Any) -> Issue:
    """A card at the end of its priority; ValidationError names the field that is wrong."""
    issue = Issue(project=project, created_by=user, status=S.NEW, **fields)
    issue.full_clean(exclude=["created_by", "session", "duplicate_of"])
    store(issue)
    return issue


def store(issue: Issue) -> None:
    """Write a new row, with the words that it is found by."""
    issue.words = words(issue)
    with transaction.atomic():
        issue.rank = last(issue.project, issue.priority)
        issue.save()
        issue.record("", issue.status, issue.created_at)
        issue.nudge()


def words(issue: Issue) -> str:
    """Paths, their parts, and labels."""
    parts = [part for path in issue.files for part in (path, *re.split(r"[/.]", path), path.rpartition("/")[2])]
    return " ".join([*dict.fromkeys(part for part in parts if part), *issue.labels])


def last(project: Project, priority: int) -> Decimal:
    """The place behind all cards that are as urgent, as long as nobody moved them among others."""
    low, high = BAND * priority, BAND * (priority + 1)
    rows = Issue.objects.cards().filter(project=project, priority=priority, rank__gte=low, rank__lt=high)
    highest: Decimal | None = rows.aggregate(highest=Max("rank"))["highest"]
    return (low if highest is None else highest) + 1


def edit(issue: Issue, user: User, **fields: Any) -> None:
    """Change what it says; ValidationError names the field that is wrong."""
    changed = [name for name, value in fields.items() if getattr(issue, name) != value]
    for name, value in fields.items():
        setattr(issue, name, value)
    issue.full_clean(exclude=["created_by", "session", "duplicate_of", "project"])
    if not changed:
        return
    issue.words = words(issue)
    with transaction.atomic():
        if "priority" in changed:
            issue.rank = last(issue.project, issue.priority)
        Issue.objects.filter(pk=issue.pk).update(
            words=issue.words, rank=issue.rank, **{name: getattr(issue, name) for name in changed}
        )
        Note.add(issue, user, f"Changed {', '.join(name.replace('_', ' ') for name in changed)}")
        issue.nudge()


def prioritise(issue: Issue, user: User, priority: int) -> bool:
    """More or less urgent; False when it is so already."""
    if issue.priority == priority:
        return False
    issue.priority = priority
    with transaction.atomic():
        issue.rank = last(issue.project, priority)
        Issue.objects.filter(pk=issue.pk).update(priority=priority, rank=issue.rank)
        Note.add(issue, user, f"Priority set to {Priority(priority).label.lower()}")
        issue.nudge()
    return True


def place(issue: Issue, before: Issue | None, after: Issue | None) -> None:
    """Put it between two others of its project: behind `before`, ahead of `after`; either may be missing."""
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=issue.project_id)
        rank = between(*_ranks(before, after))
        if rank is None:
            with connection.cursor() as cursor:
                cursor.execute(SPACE, {"band": BAND, "project": issue.project_id})
            rank = between(*_ranks(before, after))
        if rank is not None:
            Issue.objects.filter(pk=issue.pk).update(rank=rank)
        issue.nudge()
    issue.refresh_from_db()


def drop(
    issue: Issue, user: User, *, to: str, step: str, before: Issue | None, after: Issue | None, along: str = "status"
) -> None:
    """What dropping a card asks for: another status or priority, and a place between two others.

    `to` is a status or the name of a priority, empty for a place alone; `step` (up, down) is a place by itself,
    among those that have the same status or priority, as `along` says.
    Dropped among those that run, it is left where it is: a run needs more than a place. NotPossible for what can't be.
    """
    if to in DROPS and to != issue.status:
        DROPS[to](issue, user)
    elif to in PRIORITIES:
        prioritise(issue, user, PRIORITIES[to])
    elif to == S.FAILED and to != issue.status:
        raise NotPossible("Only a run can fail a card.")
    if step in {"up", "down"}:
        before, after = beside(issue, step, along)
    if before or after:
        place(issue, before, after)


def beside(issue: Issue, step: str, along: str) -> tuple[Issue | None, Issue | None]:
    """The two cards that it comes between by one step; none where it is the first or last."""
    same = {along: getattr(issue, along)}
    rows = Issue.objects.cards().filter(project=issue.project_id, **same)
    rows = rows.open() if along == "priority" and issue.status in Issue.OPEN else rows
    if step == "up":
        near = list(rows.filter(_beyond(issue, "lt")).order_by("-rank", "-pk")[:2])
        return (near[1] if len(near) > 1 else None, near[0]) if near else (None, None)
    near = list(rows.filter(_beyond(issue, "gt")).order_by("rank", "pk")[:2])
    return (near[0], near[1] if len(near) > 1 else None) if near else (None, None)


def _beyond(issue: Issue, which: str) -> Q:
    return Q(**{f"rank__{which}": issue.rank}) | Q(**{"rank": issue.rank, f"pk__{which}": issue.pk})


def _ranks(*around: Issue | None) -> list[Decimal | None]:
    known = dict(Issue.objects.filter(pk__in=[row.pk for row in around if row]).values_list("pk", "rank"))
    return [known.get(row.pk) if row else None for row in around]


def between(low: Decimal | None, high: Decimal | None) -> Decimal | None:
    """A place between two; None where there is none left."""
    if low is None or high is None:
        return low + 1 if low is not None else high - 1 if high is not None else Decimal(0)
    middle = (low + high) / 2
    return middle if high - low > NEAREST else None


def move(issue: Issue, user: User | None, to: str, what: str) -> None:
    """A move that a person asks for; NotPossible when the card stands elsewhere by now or has no such way."""
    if to not in Issue.EDGES[S(issue.status)]:
        raise NotPossible(f"“{issue}” is {S(issue.status).label.lower()} and can't become {S(to).label.lower()}.")
    with transaction.atomic():
        if not issue.move(to, reason="user"):
            raise NotPossible(f"“{issue}” was changed by somebody else meanwhile. Look again.")
        Note.add(issue, user, what)


def close(issue: Issue, user: User) -> None:
    """It will not be done."""
    if issue.status == S.RUNNING:
        raise NotPossible(f"“{issue}” is being worked on. Cancel its run first.")
    move(issue, user, S.CLOSED, "Closed")


def reopen(issue: Issue, user: User) -> None:
    """It is to be done after all."""
    if issue.status == S.RUNNING:
        raise NotPossible(f"“{issue}” is being worked on. Cancel its run first.")
    move(issue, user, S.NEW, "Opened again")


def complete(issue: Issue, user: User) -> None:
    """Somebody did it without a run."""
    if issue.status == S.RUNNING:
        raise NotPossible(f"“{issue}” is being worked on. Cancel its run first.")
    move(issue, user, S.COMPLETED, "Marked as completed")


DROPS: dict[str, Callable[[Issue, User], None]] = {S.NEW: reopen, S.COMPLETED: complete, S.CLOSED: close}


def keep(issue: Issue, user: User) -> None:
    """It is no duplicate; NotPossible when that is decided already."""
    with transaction.atomic():
        apart = Issue.objects.filter(pk=issue.pk, duplicate_of__isnull=False).update(duplicate_of=None, similarity=None)
        if not apart:
            raise NotPossible("This card is on the board already.")
        Note.add(issue, user, "Kept as a card of its own")
        issue.nudge()


def merge(issue: Issue, user: User) -> Issue:
    """Into the card that it repeats, which keeps what it said; NotPossible when that is decided already."""
    target = issue.duplicate_of
    if target is None or issue.status != S.NEW:
        raise NotPossible("There is nothing to merge: this card is no open duplicate of another.")
    with transaction.atomic():
        move(issue, user, S.CLOSED, f"Merged into #{target.pk}")
        Note.add(target, user, f"Merged #{issue.pk}: {issue.title}", issue.description)
        union(target, issue)
        target.nudge()
    return target


def union(target: Issue, issue: Issue) -> None:
    """A card has the files and labels of both, and the higher priority."""
    target.files = list(dict.fromkeys([*target.files, *issue.files]))[:50]
    target.labels = list(dict.fromkeys([*target.labels, *issue.labels]))[:10]
    changes: dict[str, Any] = {"files": target.files, "labels": target.labels, "words": words(target)}
    if issue.priority < target.priority:
        changes |= {"priority": issue.priority, "rank": last(target.project, issue.priority)}
    Issue.objects.filter(pk=target.pk).update(**changes)


def each(rows: QuerySet[Issue], act: Any) -> tuple[int, list[str]]:
    """Do it to every row; how many it was done to, and the sentences of those that refused."""
    done, refused = 0, list[str]()
    for issue in rows:
        try:
            done += act(issue) is not False
        except NotPossible as error:
            refused.append(str(error))
    return done, refused
