"""Where a sandbox's work goes: what people do about it, and the list of a project's pull requests."""

from collections.abc import Callable
from functools import partial

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of
from codecourier.models import User
from codecourier.permissions import may
from sandboxes import fleet
from sandboxes.models import PullRequest, Sandbox
from sandboxes.publishing import merging, pulls
from sandboxes.publishing.listing import listing

from .pages import sandbox_of
from .verbs import attempt

RowVerb = Callable[[PullRequest, User], object]
ROW_VERBS: dict[str, RowVerb] = {
    **{wish: partial(pulls.wish, what=wish) for wish in PullRequest.Wish.values},
    "update": pulls.update,
    "resolve": merging.begin,
    "retry": pulls.retry,
    "checks": pulls.send_checks,
    "comments": pulls.send_comments,
}


@require_POST
def do(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    """Push, open, ready, close, update, and so on; what it can't do it says in a sentence."""
    sandbox, user = sandbox_of(request, slug, pk), person(request)
    return attempt(request, sandbox, lambda: act(sandbox, user, verb))


def act(sandbox: Sandbox, user: User, verb: str) -> None:
    """One verb; NotPossible, Http404 for an unknown one."""
    if verb in {"push", "open"}:
        pulls.publish(sandbox, user, request=verb == "open")
        return
    row = get_object_or_404(PullRequest, sandbox=sandbox)
    if verb == "allow":
        if not may(user, "settings", sandbox.project):
            raise fleet.NotPossible("Only an administrator of the project can allow it. Ask one, or have it removed.")
        pulls.allow(row, user)
    elif verb in ROW_VERBS:
        ROW_VERBS[verb](row, user)
    else:
        raise Http404


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The project's branches and pull requests, narrowed by the URL."""
    return render(request, "sandboxes/pull_list.html", listing(project_of(request, slug), request.GET))
