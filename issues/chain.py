"""Chains: one link at a time, each from the result of the one before, until one fails or all are done.

launch ──> advance: the next link's run ──> its end ──> advance ──> ... ──> done
                                      └─ failed ──> stopped ──> resume | skip ──> advance
"""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from codecourier.models import Notification, Project, User
from sandboxes.models import Checkpoint, PublishingSettings
from sandboxes.models.pull import fill
from sandboxes.turns import NotPossible
from workflows import runs
from workflows.models import Run, Source, Workflow

from . import work
from .models import Chain, Issue, Link
from .models.chain import MOST_LINKS

C, L, R = Chain.Status, Link.Status, Run.Status
SPRINT = """{goal}

This is pass {number} of {of} towards this goal. What the passes before did is in the repository: look at it first, then
take the next most useful step, and leave everything in a working state."""


def of_issues(
    project: Project, user: User | None, workflow: Workflow, issues: Sequence[Issue], *, title: str = "", **fields: Any
) -> Chain:
    """A work chain: these cards in this order."""
    name = title or f"{len(issues)} cards" + (f", first {issues[0]}" if issues else "")
    links = [Link(position=place, issue=issue) for place, issue in enumerate(issues)]
    return launch(project, user, workflow, Chain.Kind.WORK, name, links, **fields)


def of_goal(
    project: Project, user: User | None, workflow: Workflow, goal: str, times: int, *, title: str = "", **fields: Any
) -> Chain:
    """A sprint chain: the same workflow so many times for one goal."""
    if not goal.strip():
        raise ValidationError({"goal": "Write what all the passes work towards."})
    said = [SPRINT.format(goal=goal.strip(), number=place + 1, of=times) for place in range(times)]
    links = [Link(position=place, prompt=prompt) for place, prompt in enumerate(said)]
    return launch(project, user, workflow, Chain.Kind.SPRINT, title or goal.strip().splitlines()[0], links, **fields)


def launch(
    project: Project,
    user: User | None,
    workflow: Workflow,
    kind: str,
    title: str,
    links: list[Link],
    *,
    one_request: bool = True,
    request_key: str | None = None,
) -> Chain:
    """Store it and have its first link started. ValidationError says what is wrong."""
    if request_key and (known := Chain.objects.filter(project=project, request_key=request_key).first()):
        return known
    if not 1 <= len(links) <= MOST_LINKS:
        raise ValidationError(f"A chain has 1 to {MOST_LINKS} links; these are {len(links)}.")
    chain = Chain(
        project=project, created_by=user, workflow=workflow, kind=kind, title=title[:200], one_request=one_request,
        request_key=request_key, status=C.RUNNING,
    )  # fmt: skip
    chain.clean()
    with transaction.atomic():
        chain.save()
        chain.work_branch = branch_of(chain) if one_request else ""
        chain.save(update_fields=["work_branch"])
        chain.record("", chain.status, chain.created_at)
        for link in links:
            link.chain, link.status = chain, L.WAITING
        Link.objects.bulk_create(links)
        chain.nudge()
        Chain.poke(chain.pk)
    return chain


def branch_of(chain: Chain) -> str:
    """One of its own, by the project's pattern."""
    values = {"kind": "chain", "id": str(chain.pk), "title": slugify(chain.title)[:40]}
    return fill(PublishingSettings.of(chain.project).branch_pattern, values).rstrip("-/.")


def advance(chain: Chain) -> None:
    """Bring a chain, leased to the caller, as far as it goes now."""
    if chain.status != C.RUNNING:
        return
    links = list(chain.links.select_related("run", "issue"))
    running = next((link for link in links if link.status == L.RUNNING), None)
    if running and not follow(running):
        return
    failed = next((link for link in links if link.status == L.FAILED), None)
    waiting = next((link for link in links if link.status == L.WAITING), None)
    if chain.cancel_asked:
        chain.move(C.CANCELLED, reason="user", detail="Somebody cancelled it.", ended_at=timezone.now())
    elif failed:
        stop(chain, failed)
    elif waiting:
        begin(chain, waiting, base(links, waiting))
    else:
        chain.move(C.DONE, ended_at=timezone.now())


def follow(link: Link) -> bool:
    """Whether its run is over; the link is then as its run."""
    made = link.run
    if made is None:
        return link.move(L.FAILED, reason="lost", detail=work.GONE)
    if not made.final:
        return False
    if made.status == R.COMPLETED:
        return link.move(L.COMPLETED, detail=made.detail)
    return link.move(L.FAILED, reason=made.reason, detail=made.detail or f"Run {made.pk} was {made.status}.")


def stop(chain: Chain, failed: Link) -> None:
    """A link that failed is where a person has to look."""
    detail = f"Link {failed.position + 1}, {failed.title}: {failed.detail}"
    chain.move(C.STOPPED, reason="link_failed", detail=detail[:2000], ended_at=timezone.now())


def base(links: Sequence[Link], link: Link) -> Checkpoint | None:
    """The result of the nearest link before that has one; None for the repository as it is."""
    before = [one for one in links if one.position < link.position and one.status == L.COMPLETED and one.run]
    return next((one.run.checkpoint for one in reversed(before) if one.run and one.run.checkpoint), None)


def begin(chain: Chain, link: Link, onto: Checkpoint | None) -> None:
    """The run of a link, unless it was skipped this moment; after a crash the same run is found by its key."""
    try:
        with transaction.atomic():
            if link.move(L.RUNNING):
                link.run = launched(chain, link, onto)
                Link.objects.filter(pk=link.pk).update(run=link.run)
            else:
                Chain.poke(chain.pk)
    except (ValidationError, NotPossible) as error:
        said = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        link.refresh_from_db()
        if link.move(L.FAILED, reason="launch_failed", detail=said):
            stop(chain, link)


def launched(chain: Chain, link: Link, onto: Checkpoint | None) -> Run:
    """A run of the card, or of the link's own prompt."""
    if chain.workflow is None:
        raise NotPossible("The workflow of this chain is gone.")
    fields: dict[str, Any] = {
        "continues": onto, "work_branch": chain.work_branch, "source": Source.CHAIN,
        "request_key": f"chain-{chain.pk}-{link.position}-{link.attempt}",
    }  # fmt: skip
    labels = {"chain": chain.pk, "link": link.position}
    if link.issue:
        return work.run(link.issue, chain.created_by, chain.workflow, labels=labels, **fields)
    if not link.prompt:
        raise NotPossible("The card of this link is gone. Skip it to go on.")
    return runs.launch(chain.workflow, chain.created_by, prompt=link.prompt, labels=labels, **fields)


def resume(chain: Chain, link: Link, user: User) -> None:
    """Go on from a link: it and all that come after are to be done (again), skipped ones excepted."""
    with transaction.atomic():
        row = Chain.objects.select_for_update().get(pk=chain.pk)
        if row.status == C.RUNNING:
            raise NotPossible("This chain is running. Cancel it first to go on from another link.")
        after = row.links.filter(position__gte=link.position)
        for one in after.filter(status__in=[L.COMPLETED, L.FAILED]) | after.filter(pk=link.pk, status=L.SKIPPED):
            one.move(L.WAITING, attempt=one.attempt + 1)
        # A branch that was pushed already is set back by the next push: what is there is ours.
        row.move(C.RUNNING, reason="resumed", cancel_asked=False, ended_at=None)
        Chain.poke(row.pk)


def skip(chain: Chain, link: Link, user: User) -> None:
    """Do without a link that failed or has not begun; a chain that it had stopped goes on."""
    with transaction.atomic():
        row = Chain.objects.select_for_update().get(pk=chain.pk)
        found = row.links.get(pk=link.pk)
        if found.status not in {L.WAITING, L.FAILED}:
            raise NotPossible(f"This link is {L(found.status).label.lower()}, so it can't be skipped.")
        found.move(L.SKIPPED, reason="user")
        if row.status == C.STOPPED and not row.links.filter(status=L.FAILED).exists():
            row.move(C.RUNNING, reason="resumed", ended_at=None)
        Chain.poke(row.pk)


def cancel(chain: Chain, user: User | None) -> None:
    """End it with the run that is at work; NotPossible when it is over."""
    with transaction.atomic():
        row = Chain.objects.select_for_update().get(pk=chain.pk)
        if row.status == C.STOPPED:
            row.move(C.CANCELLED, reason="user", detail=f"{user or 'CodeCourier'} cancelled it.")
            return
        if row.status != C.RUNNING:
            raise NotPossible("This chain is over already.")
        Chain.objects.filter(pk=row.pk).update(cancel_asked=True)
        running = row.links.filter(status=L.RUNNING).select_related("run").first()
        if running and running.run and not running.run.final:
            runs.cancel(running.run, user)
        row.nudge()
        Chain.poke(row.pk)


NEWS = {
    C.DONE: (Notification.Level.SUCCESS, "Chain done: {chain}"),
    C.STOPPED: (Notification.Level.ERROR, "Chain stopped: {chain}. {chain.detail}"),
}


def tell(chain: Chain, moment: int) -> None:
    """Tell whoever started it that it stopped or is done; once for each of its moves."""
    if chain.created_by is None or chain.status not in NEWS:
        return
    level, words = NEWS[C(chain.status)]
    Notification.tell(
        chain.created_by, f"chain-{chain.pk}-{moment}", words.format(chain=chain), level=level, project=chain.project,
        url=f"/p/{chain.project.slug}/issues/chains/{chain.pk}/",
    )  # fmt: skip
