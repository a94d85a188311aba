"""Questions: the list, answers, and sessions that look for answers."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of, verb_of
from codecourier.models import Project
from issues import answering, listing
from issues.models import Question

from .cards import attempt

PAGE = 30
VIEWS = {"undecided": ("To decide", Question.UNDECIDED), "approved": ("Approved", ("approved",)),
         "rejected": ("Rejected", ("rejected",)), "all": ("All", tuple(Question.Status.values))}  # fmt: skip
VERBS: dict[str, Callable[..., Any]] = {
    "approve": answering.approve, "reject": answering.reject, "reopen": answering.reopen,
}  # fmt: skip


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The list, narrowed by the URL."""
    return render(request, "issues/question_list.html", rows_of(project_of(request, slug), request.GET))


def rows_of(project: Project, params: QueryDict) -> dict[str, Any]:
    """One page of questions, and how many there are of each view."""
    view = params.get("view", "")
    view = view if view in VIEWS else "undecided"
    rows = Question.objects.filter(project=project)
    if words := params.get("q", "").strip():
        rows = rows.filter(text__icontains=words)
    counts = dict(rows.order_by().values_list("status").annotate(Count("pk")))
    found = rows.filter(status__in=VIEWS[view][1]).select_related("session", "answered_in", "decided_by")
    page = Paginator(found.prefetch_related("issues"), PAGE).get_page(params.get("page"))
    return {
        "project": project, "page": page, "rows": list(page.object_list), "view": view, "tabs": listing.tabs(project),
        "views": [(key, label, sum(counts.get(one, 0) for one in kinds)) for key, (label, kinds) in VIEWS.items()],
        "query": f"view={view}", "open": counts.get("open", 0), "undecided": Question.UNDECIDED,
        "any": bool(counts) or Question.objects.filter(project=project).exists(),
    }  # fmt: skip


def question_of(request: HttpRequest, slug: str, pk: int) -> Question:
    """A question of a project that this person may open; Http404 for any other."""
    return get_object_or_404(Question.objects.select_related("project"), project=project_of(request, slug), pk=pk)


@require_POST
def answer(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A person's own answer, approved by that."""
    question = question_of(request, slug, pk)
    said = request.POST.get("answer", "").replace("\r\n", "\n")[:20_000]
    attempt(request, lambda: answering.answer(question, person(request), said))
    return back(request, slug)


@require_POST
def do(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    """Approve, reject, reopen."""
    question = question_of(request, slug, pk)
    act = verb_of(VERBS, verb)
    attempt(request, lambda: act(question, person(request)))
    return back(request, slug)


@require_POST
def ask(request: HttpRequest, slug: str) -> HttpResponse:
    """A session that looks for the answers of the chosen questions, or of all that are open."""
    project = project_of(request, slug)
    rows = Question.objects.open().filter(project=project)
    chosen = [int(text) for text in request.POST.getlist("question") if text.isdecimal() and len(text) < 18]
    try:
        session = answering.launch(project, person(request), rows.filter(pk__in=chosen) if chosen else rows)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return back(request, slug)
    return redirect("issues:session", slug, session.pk)


def back(request: HttpRequest, slug: str) -> HttpResponse:
    """To the page that the form was on: a session's, a card's or the list."""
    for name, target in (("session", "issues:session"), ("issue", "issues:detail")):
        if (number := request.POST.get(name, "")).isdecimal() and len(number) < 18:
            return redirect(target, slug, int(number))
    return redirect(f"{reverse('issues:questions', args=[slug])}?{request.POST.get('query', '')}")
