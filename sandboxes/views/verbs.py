"""What people do to sandboxes: each view calls one verb, then shows how things stand."""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST

from codecourier.access import person, project_of
from codecourier.models import User
from sandboxes import fleet, turns
from sandboxes.models import Sandbox, Turn
from sandboxes.record import fragments, record

from .pages import sandbox_of

Verb = Callable[[Sandbox, User], object]
SANDBOX_VERBS: dict[str, Verb] = {
    "stop": fleet.stop,
    "pause": fleet.pause,
    "wake": fleet.wake,
    "extend": fleet.extend,
    "trash": fleet.trash,
    "restore": fleet.restore,
    "interrupt": turns.interrupt,
}
# What a list's selection can be asked for.
BULK = {"stop": "asked to stop", "trash": "moved to the trash", "restore": "restored"}


def answer(request: HttpRequest, sandbox: Sandbox, refused: str = "") -> HttpResponse:
    """The page again; to htmx only its live parts and the refusal, with status 422, so that the form keeps its text."""
    if not request.headers.get("HX-Request"):
        if refused:
            messages.error(request, refused)
        return redirect("sandboxes:detail", sandbox.project.slug, sandbox.pk)
    sandbox.refresh_from_db()
    parts = [*fragments(record(sandbox, request.GET.get("job", ""))).values()]
    parts.append(render_to_string("_messages.html", {"refused": refused, "live": True}))
    return HttpResponse("".join(parts), status=422 if refused else 200)


def attempt(request: HttpRequest, sandbox: Sandbox, act: Callable[[], object]) -> HttpResponse:
    """Do it, or say in its own sentence why it can't be done."""
    try:
        act()
    except fleet.NotPossible as error:
        return answer(request, sandbox, str(error))
    except ValidationError as error:
        return answer(request, sandbox, " ".join(error.messages))
    return answer(request, sandbox)


@require_POST
def do(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    """Stop, pause, wake, trash, restore, interrupt."""
    sandbox = sandbox_of(request, slug, pk)
    return attempt(request, sandbox, lambda: SANDBOX_VERBS[verb](sandbox, person(request)))


@require_POST
def retitle(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Another title."""
    sandbox = sandbox_of(request, slug, pk)
    return attempt(request, sandbox, lambda: fleet.retitle(sandbox, request.POST.get("title", "")))


@require_POST
def send(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A message to the agent, with its files."""
    sandbox = sandbox_of(request, slug, pk)
    model, effort = request.POST.get("model", ""), request.POST.get("effort", "")
    files = request.FILES.getlist("files")

    def act() -> None:
        turns.send(sandbox, person(request), written(request), model=model, effort=effort, files=files)

    return attempt(request, sandbox, act)


@require_POST
def edit(request: HttpRequest, slug: str, pk: int, turn: int) -> HttpResponse:
    """Change a message that waits."""
    sandbox = sandbox_of(request, slug, pk)
    found = get_object_or_404(Turn, sandbox=sandbox, pk=turn)
    return attempt(request, sandbox, lambda: turns.edit(found, written(request)))


@require_POST
def put(request: HttpRequest, slug: str, pk: int, turn: int) -> HttpResponse:
    """Another place in the queue, counted from 0; whatever is no number means the first."""
    sandbox = sandbox_of(request, slug, pk)
    found = get_object_or_404(Turn, sandbox=sandbox, pk=turn)
    place = request.POST.get("place", "")
    number = int(place) if place.isdecimal() and len(place) < 6 else 0
    return attempt(request, sandbox, lambda: turns.put(found, number))


@require_POST
def withdraw(request: HttpRequest, slug: str, pk: int, turn: int) -> HttpResponse:
    """Take back a message that waits; one that is gone already is as good as taken back."""
    sandbox = sandbox_of(request, slug, pk)
    found = Turn.objects.filter(sandbox=sandbox, pk=turn).first()
    return attempt(request, sandbox, lambda: turns.withdraw(found) if found else None)


@require_POST
def bulk(request: HttpRequest, slug: str) -> HttpResponse:
    """The same verb for every chosen row of the list."""
    project, verb = project_of(request, slug), request.POST.get("verb", "")
    chosen = [int(value) for value in request.POST.getlist("sandbox") if value.isdecimal() and len(value) < 18]
    back = reverse("sandboxes:list", args=[slug])
    query = request.POST.get("query", "")
    if verb not in BULK or not chosen:
        messages.error(request, "Choose one or more sandboxes first, then what to do with them.")
        return redirect(f"{back}?{query}")
    rows = Sandbox.objects.filter(project=project, pk__in=chosen)
    rows = rows.alive() if verb == "stop" else rows
    for sandbox in rows:
        SANDBOX_VERBS[verb](sandbox, person(request))
    messages.success(request, f"{len(rows)} of {len(chosen)} sandboxes {BULK[verb]}.")
    return redirect(f"{back}?{query}")


def written(request: HttpRequest) -> str:
    """A message as it was written, with line ends as a script needs them."""
    return request.POST.get("prompt", "").replace("\r\n", "\n").strip("\n")
