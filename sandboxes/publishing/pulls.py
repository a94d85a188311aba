"""From a checkpoint to a pull request, and what becomes of it there.

publish / follow ──> row `pushing` ──> scan ──> push ──> open ──> draft | open ──> read back ... ──> merged | closed

The row says what is wanted and what is known to be there; `advance` does the difference, so it may be repeated: a
branch that stands where it should is not pushed, a request that exists is found and not opened again.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from codecourier import audit, git, github, registries, remotes
from codecourier.models import Notification, Project, User
from sandboxes import turns
from sandboxes.checkpoints.store import Store, refs_of
from sandboxes.models import Checkpoint, PublishingSettings, PullRequest, Sandbox, Turn
from sandboxes.turns import NotPossible

from . import feedback, merging, text
from .merge import Conflict, fetch, merged, part_of
from .push import PushError, explained, heads, push
from .rebase import rebased
from .scan import findings

logger = logging.getLogger(__name__)

P = PullRequest.Status
Wish = PullRequest.Wish
Auto = PublishingSettings.Auto
Level = Notification.Level
# Told to whoever asked for it; a request that is opened is told once, not with every push.
NEWS = {
    P.DRAFT: (Level.INFO, "{row.sandbox}: pull request {row} is open as a draft."),
    P.OPEN: (Level.INFO, "{row.sandbox}: pull request {row} is open."),
    P.MERGED: (Level.INFO, "{row.sandbox}: pull request {row} is merged."),
    P.BLOCKED: (Level.ERROR, "{row.sandbox}: {row.detail}"),
    P.FAILED: (Level.ERROR, "{row.sandbox}: {row.detail}"),
}
# So many failed tries in a row, a minute apart at the end, and a person has to look.
GIVE_UP = 8
LATER = timedelta(seconds=30)
# A pull request that can't be read just now is asked for again.
REST = timedelta(minutes=10)


def publish(
    sandbox: Sandbox, user: User | None, *, request: bool = False, draft: bool | None = None,
    checkpoint: Checkpoint | None = None, title: str = "", body: str = "",
) -> PullRequest:  # fmt: skip
    """Bring a checkpoint, else the newest, to the remote, with a pull request if wanted; NotPossible says what lacks.

    A branch that several sandboxes worked on one after another, as those of a run, has one row: the latest's.
    """
    last = checkpoint or sandbox.checkpoints.stored().last()
    if last is None:
        raise NotPossible(
            "Nothing is saved yet that could be pushed. It is after the next turn that changes something."
        )
    if not sandbox.repository_url:
        raise NotPossible("This sandbox has no repository to push to. Download the patch or the bundle instead.")
    if request and not at_github(sandbox.project, sandbox.repository_url):
        raise NotPossible(
            "Pull requests need a repository at GitHub and a GitHub key of the project. The branch alone can be pushed."
        )
    now = timezone.now()
    made_with = {
        "project": sandbox.project, "created_by": user, "remote_url": sandbox.repository_url,
        "branch": sandbox.work_branch, "base": sandbox.branch, "wanted_commit": last.commit,
        "wants_request": request, "status": P.PUSHING, "status_at": now,
        "draft": PublishingSettings.of(sandbox.project).draft if draft is None else draft,
        "title": title, "body": body,
    }  # fmt: skip
    with transaction.atomic():
        row, made = adopted(sandbox), False
        if row is None:
            row, made = PullRequest.objects.select_for_update().get_or_create(sandbox=sandbox, defaults=made_with)
        if row.status == P.MERGED:
            raise NotPossible("Its pull request is merged already. Go on in a new sandbox.")
        if made:
            row.record("", row.status, now)
        audit.note(user, "work.published", row, commit=last.commit)
        again(row, wanted_commit=last.commit, target="", wants_request=request or row.wants_request)
    return row


def adopted(sandbox: Sandbox) -> PullRequest | None:
    """The row of the sandbox's branch that another sandbox made, from now on this one's."""
    if PullRequest.objects.filter(sandbox=sandbox).exists():
        return None
    same = PullRequest.objects.select_for_update().filter(
        project=sandbox.project, remote_url=sandbox.repository_url, branch=sandbox.work_branch
    )
    row = same.exclude(branch="").exclude(status=P.MERGED).first()
    if row:
        PullRequest.objects.filter(pk=row.pk).update(sandbox=sandbox)
        row.sandbox = sandbox
    return row


def follow(checkpoint: Checkpoint) -> None:
    """More work: it goes to the branch and the request that there are, or as the project has it done by itself."""
    sandbox = checkpoint.sandbox
    if merged_in := merging.finished(checkpoint):
        again(merged_in, onto=checkpoint.commit, target="")
        return
    row = PullRequest.objects.filter(sandbox=sandbox).first()
    if row:
        if row.status not in {P.MERGED, P.CLOSED}:
            again(row, wanted_commit=checkpoint.commit, target="")
        return
    auto = sandbox.publish or PublishingSettings.of(sandbox.project).auto
    done = checkpoint.turn and checkpoint.turn.status == Turn.Status.SUCCEEDED
    if auto == Auto.NOTHING or not done or not sandbox.repository_url:
        return
    can = at_github(sandbox.project, sandbox.repository_url) is not None
    publish(sandbox, sandbox.created_by, request=auto == Auto.REQUEST and can)


def again(row: PullRequest, **wanted: Any) -> None:
    """Have it brought to what is wanted now."""
    with transaction.atomic():
        PullRequest.objects.filter(pk=row.pk).update(**wanted, not_before=None, tries=0)
        if row.status != P.PUSHING:
            row.move(P.PUSHING)
        poke(row)


def poke(row: PullRequest) -> None:
    """Have a worker look at it once the transaction commits."""
    PullRequest.objects.filter(pk=row.pk).update(due_at=timezone.now() + timedelta(seconds=3))
    registries.sweepers[PullRequest].enqueue(row.pk)
    row.nudge()


def allow(row: PullRequest, user: User) -> None:
    """An administrator lets what was found be pushed: exactly that, not what comes later."""
    with transaction.atomic():
        marks = sorted({*row.allowed, *(finding["mark"] for finding in row.findings)})
        audit.note(user, "secret.allowed", row, findings=len(row.findings))
        again(row, allowed=marks, findings=[])


def retry(row: PullRequest, user: User) -> None:
    """Once more, after a person has done something about it."""
    if row.status not in {P.FAILED, P.BLOCKED}:
        raise NotPossible("There is nothing to try again.")
    publish(row.sandbox, user, request=row.wants_request)


def wish(row: PullRequest, user: User, what: str) -> None:
    """Something that people do at GitHub as well: ready or draft, closed or open."""
    if row.number is None or row.status == P.MERGED:
        raise NotPossible("There is no pull request that this could be done to.")
    with transaction.atomic():
        PullRequest.objects.filter(pk=row.pk).update(asked=Wish(what), not_before=None)
        audit.note(user, "pull_request.asked", row, what=what)
        poke(row)


def update(row: PullRequest, user: User | None) -> None:
    """Have the branch brought up to its base branch, by rebase or merge as the project has it."""
    if row.status not in {P.PUSHED, *PullRequest.LIVE}:
        raise NotPossible("There is no branch at the remote that could be updated.")
    with transaction.atomic():
        audit.note(user, "pull_request.asked", row, what="update")
        again(row, update_asked=True, target="")


def send_checks(row: PullRequest, user: User) -> None:
    """The failed checks to the agent, as the next turn."""
    _send(row, user, feedback.failed_checks(row), "No check has failed.")


def send_comments(row: PullRequest, user: User) -> None:
    """What reviewers wrote to the agent, as the next turn."""
    _send(row, user, feedback.review_comments(row), "Nobody has written anything yet.")


def _send(row: PullRequest, user: User, text: str, nothing: str) -> None:
    if not text:
        raise NotPossible(nothing)
    turns.send(row.sandbox, user, text)


def advance(row: PullRequest) -> None:
    """Bring one row, leased to the caller, as far as it goes now; every fault ends up in it."""
    if row.not_before and row.not_before > timezone.now():
        return
    try:
        step(row)
        PullRequest.objects.filter(pk=row.pk).update(tries=0)
    except PushError as error:
        passed_on(row, str(error), timezone.now() + LATER if error.passing else None)
    except git.GitError as error:
        known = explained(error)
        passed_on(row, str(known), timezone.now() + LATER if known.passing else None)
    except github.GitHubError as error:
        passed_on(row, str(error), error.retry_at)


def passed_on(row: PullRequest, sentence: str, retry_at: datetime | None) -> None:
    """A fault: tried again at its time while that makes sense, else a person's."""
    logger.warning("Pull request %s: %s", row.pk, sentence)
    if retry_at and row.tries < GIVE_UP:
        later = max(retry_at, timezone.now() + LATER * 2 ** min(row.tries, 5))
        PullRequest.objects.filter(pk=row.pk).update(detail=sentence, not_before=later, tries=F("tries") + 1)
        row.nudge()
    elif row.status == P.PUSHING:
        row.move(P.FAILED, detail=sentence)
    else:
        PullRequest.objects.filter(pk=row.pk).update(detail=sentence, asked="", not_before=timezone.now() + REST)
        row.nudge()


def step(row: PullRequest) -> None:
    """One look at what is wanted and what is there."""
    if row.status in {P.PUSHED, *PullRequest.LIVE} and not row.target:
        row.move(P.PUSHING)  # more work came while the last was being pushed
    if row.status == P.PUSHING:
        if not bring(row):
            return
        if not row.wants_request:
            row.move(P.PUSHED)
            return
        if row.number is None:
            request(row)
    if row.number is not None and row.status != P.MERGED:
        grant(row, row.number)
        read(row, row.number)


def bring(row: PullRequest) -> bool:
    """The branch to its commit; False when it is held back."""
    project, store = row.project, Store.of(row.project)
    there = heads(project, row.remote_url)
    row.base = row.base or there.get("HEAD", "")
    settle(row)
    if there.get(row.branch) != row.target:
        known = store.known([commit for name, commit in there.items() if name != "HEAD"])
        found = findings(store, row.target, known, project.secrets())
        if held := [finding for finding in found if finding.mark not in row.allowed]:
            first = held[0]
            sentence = f"{first.path}, line {first.line}: it looks like a secret ({first.kind}). Nothing was pushed."
            PullRequest.objects.filter(pk=row.pk).update(findings=[finding.to_json() for finding in held])
            row.move(P.BLOCKED, detail=sentence)
            return False
        row.tried = [*row.tried, row.target]
        PullRequest.objects.filter(pk=row.pk).update(tried=row.tried)
        push(project, row.remote_url, row.branch, row.target, there, row.tried)
    PullRequest.objects.filter(pk=row.pk).update(pushed_commit=row.target, base=row.base, findings=[])
    row.refresh_from_db()
    return True


def settle(row: PullRequest) -> None:
    """Decide once what is pushed, and keep it in the row: the work with what it was brought up to, before and now."""
    if row.target:
        return
    store, refs, before = Store.of(row.project), refs_of(row.sandbox_id), row.onto
    others = [before] if before else []
    if row.update_asked:
        others.append(fetch(row.project, row.remote_url, row.base, f"{refs}base"))
    row.target, row.onto, row.conflict, warnings = row.wanted_commit, "", "", []
    for other in others:
        try:
            row.target, row.onto = together(row, other, before)
        except Conflict as conflict:
            row.conflict = other
            store.keep(f"{refs}other", other)
            warnings = [f"{row.base} could not be merged into the branch. {conflict}"]
    store.keep(f"{refs}target", row.target)
    # Whoever asked for something else in the meantime has it done at the next look.
    PullRequest.objects.filter(pk=row.pk, wanted_commit=row.wanted_commit, update_asked=row.update_asked).update(
        target=row.target, onto=row.onto, update_asked=False, warnings=warnings, conflict=row.conflict
    )


def together(row: PullRequest, other: str, before: str) -> tuple[str, str]:
    """What is pushed with `other` in it, and what later work of the sandbox, which knows nothing of it, is put upon.

    By rebase where the project has it so: then that is `other` itself. What was brought together by a merge `before`
    is merged again. Conflict.
    """
    method = PublishingSettings.of(row.project).updates
    if method == PublishingSettings.Updates.REBASE and part_of(row.project, before, other):
        try:
            if made := rebased(row.project, row.wanted_commit, other):
                return made, other
        except Conflict:
            # One commit after the other can be in conflict where their sum is not.
            pass
    made = merged(row.project, row.target, other, f"Merge branch '{row.base}' into {row.branch}")
    return made, made if made != row.wanted_commit else ""


def request(row: PullRequest) -> None:
    """Open it, or find the one that is open already."""
    settings = PublishingSettings.of(row.project)
    here, repository = reach(row)
    title, body = row.title or text.title_of(row.sandbox), row.body or text.body_of(row.sandbox)
    made = github.open_pull_request(
        here, repository, head=row.branch, base=row.base, title=title, body=body, draft=row.draft,
        labels=names(settings.labels), reviewers=names(settings.reviewers),
    )  # fmt: skip
    PullRequest.objects.filter(pk=row.pk).update(
        number=made.number, url=made.url, title=title, body=body, warnings=[*row.warnings, *made.warnings],
        changed_at=timezone.now(),
    )  # fmt: skip
    row.refresh_from_db()


def grant(row: PullRequest, number: int) -> None:
    """Do there what somebody asked for here."""
    here, repository = reach(row)
    if row.asked == Wish.READY:
        github.mark_ready(here, repository, number)
    elif row.asked == Wish.DRAFT:
        github.convert_to_draft(here, repository, number)
    elif row.asked:
        github.edit(here, repository, number, state="closed" if row.asked == Wish.CLOSE else "open")


def read(row: PullRequest, number: int) -> None:
    """Take over how it stands there, and that what was asked for is done."""
    here, repository = reach(row)
    said = github.read(here, repository, number, row.etags)
    now = timezone.now()
    news = {name: value for name in ("checks", "reviews", "comments") if (value := getattr(said, name)) is not None}
    fresh = {name: value for name, value in news.items() if getattr(row, name) != value}
    fields: dict[str, Any] = {
        **fresh,
        "etags": dict(said.etags),
        "base": said.base,
        "read_at": now,
        "not_before": None,
        "detail": "",
    }
    if fresh:
        fields["changed_at"] = now
    with transaction.atomic():
        PullRequest.objects.filter(pk=row.pk).update(**fields)
        if row.asked:
            PullRequest.objects.filter(pk=row.pk, asked=row.asked).update(asked="")
        row.refresh_from_db()
        if said.state != row.status:
            row.move(said.state)
        else:
            row.nudge()


def reach(row: PullRequest) -> tuple[github.Account, str]:
    """With what GitHub is spoken to, and the repository's name there."""
    repository = at_github(row.project, row.remote_url)
    if repository is None:
        raise github.GitHubError("The project has no GitHub key (any more). Store one, then try again.", "missing_key")
    return github.account(row.project.key("github"), row.project.base_url("github"), repository), repository


def at_github(project: Project, url: str) -> str | None:
    """The name of a repository at GitHub; None elsewhere, or where the project has no key for it."""
    return github.slug_of(url, remotes.github_origin(project)) if project.key("github") else None


def names(text: str) -> list[str]:
    """Words with commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]
