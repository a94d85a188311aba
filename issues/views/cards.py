"""The board, the list, one card, and what is done to cards."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of, verb_of
from codecourier.models import Project
from issues import cards, detail, listing, work
from issues.forms import IssueForm, RunForm
from issues.models import PRIORITIES, Issue
from sandboxes.turns import NotPossible
from workflows.models import Workflow

# What a selection may be.
MOST = 200
VERBS: dict[str, Callable[..., Any]] = {
    "close": cards.close, "reopen": cards.reopen, "complete": cards.complete, "keep": cards.keep, "merge": cards.merge,
    "retry": work.retry,
}  # fmt: skip
BULK = {"close": (cards.close, "closed"), "reopen": (cards.reopen, "opened again")}


def issue_of(request: HttpRequest, slug: str, pk: int) -> Issue:
    """A card of a project that this person may open; Http404 for any other."""
    rows = Issue.objects.defer("search", "words").select_related("project", "created_by", "run", "duplicate_of")
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """Board or list, narrowed by the URL."""
    project = project_of(request, slug)
    return render(request, "issues/issue_list.html", listing.listing(project, person(request), request.GET))


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """A card by hand."""
    project = project_of(request, slug)
    form = IssueForm(request.POST or None, instance=Issue(project=project))
    if request.method == "POST" and form.is_valid() and (issue := form.store(project, person(request))):
        return redirect("issues:detail", slug, issue.pk)
    context = {"project": project, "form": form, "tabs": listing.tabs(project)}
    return render(request, "issues/issue_form.html", context, status=422 if form.errors else 200)


@require_safe
def page(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Everything about one card."""
    issue = issue_of(request, slug, pk)
    return render(request, "issues/issue_detail.html", detail.context(issue, request.GET))


def edit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change what it says."""
    issue = issue_of(request, slug, pk)
    form = IssueForm(request.POST or None, instance=issue)
    if request.method == "POST" and form.is_valid() and form.store(issue.project, person(request)):
        return redirect("issues:detail", slug, pk)
    context = {"project": issue.project, "issue": issue, "form": form, "tabs": listing.tabs(issue.project)}
    return render(request, "issues/issue_form.html", context, status=422 if form.errors else 200)


@require_POST
def run(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Start its run; refused, the page comes back with what was typed."""
    issue = issue_of(request, slug, pk)
    form = RunForm(issue.project, request.POST)
    if form.is_valid() and (made := form.launch(issue, person(request))):
        return redirect("workflows:run", slug, made.pk)
    return render(request, "issues/issue_detail.html", detail.context(issue, request.GET, form), status=422)


@require_POST
def do(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    """Close, reopen, complete, keep, merge, retry."""
    issue = issue_of(request, slug, pk)
    act = verb_of(VERBS, verb)
    attempt(request, lambda: act(issue, person(request)))
    target = issue.duplicate_of_id if verb == "merge" and issue.duplicate_of_id else pk
    return back(request, slug, target)


@require_POST
def prioritise(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Another priority; an unknown one changes nothing."""
    issue, wanted = issue_of(request, slug, pk), request.POST.get("priority", "")
    if wanted in PRIORITIES:
        cards.prioritise(issue, person(request), PRIORITIES[wanted])
    return back(request, slug, pk)


@require_POST
def place(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Where it was dropped: a column or a priority, between two others; or one up or down, by a button."""
    issue = issue_of(request, slug, pk)
    refused = attempt(request, lambda: cards.drop(issue, person(request), **dropped(request, issue.project)))
    if not request.headers.get("HX-Request"):
        return back(request, slug, pk)
    if not refused and request.POST.get("to") == Issue.Status.RUNNING and issue.status != Issue.Status.RUNNING:
        address = reverse("issues:detail", args=[slug, pk])
        return HttpResponse(headers={"HX-Redirect": f"{address}#run"})
    return shown(request, issue.project, refused)


def dropped(request: HttpRequest, project: Project) -> dict[str, Any]:
    """What a drop says: `to` a status or a priority, `before`, `after` numbers of cards, `step` up or down."""
    numbers = {name: number(request.POST.get(name, "")) for name in ("before", "after")}
    rows = {row.pk: row for row in Issue.objects.filter(project=project, pk__in=filter(None, numbers.values()))}
    around = {name: rows.get(pk) if pk else None for name, pk in numbers.items()}
    along = "priority" if QueryDict(request.POST.get("query", "")).get("view") == "list" else "status"
    return {"to": request.POST.get("to", ""), "step": request.POST.get("step", ""), "along": along, **around}


def number(text: str) -> int | None:
    """A card's, None for what is none."""
    return int(text) if text.isdecimal() and len(text) < 18 else None


def shown(request: HttpRequest, project: Project, refused: str) -> HttpResponse:
    """The live parts of the board as the page has it, and the refusal."""
    context = listing.listing(project, person(request), request.GET)
    parts = [*listing.fragments(context).values(), detail.messages_of(refused)]
    return HttpResponse("".join(parts), status=422 if refused else 200)


def attempt(request: HttpRequest, act: Callable[[], object]) -> str:
    """Do it; a refusal is shown, and returned."""
    try:
        act()
    except (NotPossible, ValidationError) as error:
        said = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
        messages.error(request, said)
        return said
    return ""


def back(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """To where the form was: the board, narrowed as it was, or the card."""
    if "query" in request.POST:
        return redirect(f"{reverse('issues:list', args=[slug])}?{request.POST['query']}")
    return redirect("issues:detail", slug, pk)


@require_POST
def bulk(request: HttpRequest, slug: str) -> HttpResponse:
    """The same for every chosen card."""
    project, verb = project_of(request, slug), request.POST.get("verb", "")
    chosen = list(dict.fromkeys(pk for text in request.POST.getlist("issue") if (pk := number(text))))[:MOST]
    rows = Issue.objects.filter(project=project, pk__in=chosen).order_by("rank", "pk")
    if verb == "chain" and chosen:
        order = rows.values_list("pk", flat=True)
        return redirect(f"{reverse('issues:chain-new', args=[slug])}?{urlencode({'issue': list(order)}, doseq=True)}")
    try:
        act, word = bulk_verb(request, project, verb)
    except NotPossible as error:
        messages.error(request, str(error))
        return back(request, slug, 0)
    if not chosen:
        messages.error(request, "Choose one or more cards first, then what to do with them.")
        return back(request, slug, 0)
    tell(request, *cards.each(rows, act), word, len(chosen))
    return back(request, slug, 0)


def bulk_verb(request: HttpRequest, project: Project, verb: str) -> tuple[Callable[[Issue], object], str]:
    """What is done to each, and the word for it; NotPossible for what is no verb."""
    user = person(request)
    if verb in BULK:
        act, word = BULK[verb]
        return (lambda issue: act(issue, user)), word
    if verb == "priority" and (wanted := request.POST.get("priority", "")) in PRIORITIES:
        return (lambda issue: cards.prioritise(issue, user, PRIORITIES[wanted])), f"set to {wanted}"
    chosen = number(request.POST.get("workflow", ""))
    workflow = Workflow.objects.kept().filter(project=project, pk=chosen or 0).first()
    if verb == "run" and workflow:
        return (lambda issue: work.run(issue, user, workflow)), f"started with {workflow}"
    raise NotPossible("Choose what to do with the cards, and for a run the workflow.")


def tell(request: HttpRequest, done: int, refused: list[str], word: str, of: int) -> None:
    """How it went, in a line or two."""
    messages.success(request, f"{done} of {of} cards {word}.")
    if refused:
        more = f" And {len(refused) - 3} more." if len(refused) > 3 else ""
        messages.warning(request, " ".join(refused[:3]) + more)
