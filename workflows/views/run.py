"""The page of one run, and what people do there."""

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from codecourier.access import person, project_of
from sandboxes.models import Sandbox
from sandboxes.turns import NotPossible
from sandboxes.views import publishing
from workflows import page, runs
from workflows.models import Run

# What a verb leads to besides the page: another run, the sandbox of a message.
Led = Run | Sandbox | None
Verb = Callable[[HttpRequest, Run], Led]


def run_of(request: HttpRequest, slug: str, pk: int) -> Run:
    """A run of a project that this person may open; Http404 for any other."""
    return get_object_or_404(page.runs(), project=project_of(request, slug), pk=pk)


@require_safe
def detail(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What was asked, who works on it, and where it stands."""
    run = run_of(request, slug, pk)
    context = {**page.page(run, request.GET.dict()), "request_key": secrets.token_hex(12)}
    return render(request, "workflows/run_detail.html", context)


@require_POST
def do(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    """Cancel, again, retry, score, say, or something about the branch; what it can't do it says in a sentence."""
    run = run_of(request, slug, pk)
    act = VERBS.get(verb) or on_branch(verb)
    try:
        led = act(request, run)
    except NotPossible as error:
        return answer(request, run, str(error))
    except ValidationError as error:
        return answer(request, run, " ".join(error.messages))
    return follow(request, run, led)


def cancel(request: HttpRequest, run: Run) -> Led:
    """Stop it."""
    runs.cancel(run, person(request))
    return None


def again(request: HttpRequest, run: Run) -> Led:
    """The same in a new run."""
    return runs.again(run, person(request), request_key=key(request, "again"))


def retry(request: HttpRequest, run: Run) -> Led:
    """A new run from a step on."""
    step = request.POST.get("step", "")
    number = int(step) if step.isdecimal() and len(step) < 4 else -1
    return runs.retry(run, person(request), number, request_key=key(request, f"retry-{number}"))


def score(request: HttpRequest, run: Run) -> Led:
    """Have it scored."""
    runs.ask_score(run, person(request))
    return None


def say(request: HttpRequest, run: Run) -> Led:
    """A message to its work."""
    text = request.POST.get("prompt", "").replace("\r\n", "\n").strip("\n")
    turn = runs.follow_up(run, person(request), text, request.FILES.getlist("files"))
    return turn.sandbox if run.final else None


def on_branch(verb: str) -> Verb:
    """What is done about the branch: by the run where that opens it, else as on its sandbox's page."""

    def act(request: HttpRequest, run: Run) -> Led:
        if verb in {"push", "open"}:
            runs.publish(run, person(request), request=verb == "open")
        elif pull := run.pull_request:
            publishing.act(pull.sandbox, person(request), verb)
        else:
            raise Http404
        return None

    return act


VERBS: dict[str, Verb] = {"cancel": cancel, "again": again, "retry": retry, "score": score, "say": say}


def key(request: HttpRequest, what: str) -> str | None:
    """The form's mark, for one verb: sent twice, it makes one run."""
    given = request.POST.get("request_key", "")
    return f"{given[:40]}-{what}" if given else None


def follow(request: HttpRequest, run: Run, led: Led) -> HttpResponse:
    """To what was made, else the page again."""
    if led is None:
        return answer(request, run)
    name = "workflows:run" if isinstance(led, Run) else "sandboxes:detail"
    url = reverse(name, args=[run.project.slug, led.pk])
    return HttpResponseClientRedirect(url) if request.headers.get("HX-Request") else redirect(url)


def answer(request: HttpRequest, run: Run, refused: str = "") -> HttpResponse:
    """The page; to htmx only its live parts and the refusal, with status 422, so that the form keeps its text."""
    if not request.headers.get("HX-Request"):
        if refused:
            messages.error(request, refused)
        return redirect("workflows:run", run.project.slug, run.pk)
    shown = page.page(run_of(request, run.project.slug, run.pk), where(request))
    parts = [*page.fragments(shown).values()]
    parts.append(render_to_string("_messages.html", {"refused": refused, "live": True}))
    return HttpResponse("".join(parts), status=422 if refused else 200)


def where(request: HttpRequest) -> dict[str, str]:
    """What the page that asks shows, by its address."""
    return QueryDict(urlsplit(request.headers.get("HX-Current-URL", "")).query).dict()
