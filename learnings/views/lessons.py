"""Lessons: the inbox, the library, the page of one, and what is decided about them."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from codecourier.access import person, project_of
from learnings import curation, listing
from learnings.forms import LessonForm
from learnings.models import Lesson
from sandboxes.turns import NotPossible

# What may be chosen at once.
MOST = 500


def lesson_of(request: HttpRequest, slug: str, pk: int) -> Lesson:
    """A lesson of a project that this person may open; Http404 for any other."""
    rows = Lesson.objects.select_related("project", *listing.RELATED)
    return get_object_or_404(rows, project=project_of(request, slug), pk=pk)


@require_safe
def inbox(request: HttpRequest, slug: str) -> HttpResponse:
    """What waits for a decision, one at a time."""
    context = listing.inbox(project_of(request, slug), request.GET.get("at", ""))
    if context["lesson"]:
        context["form"] = LessonForm(context["project"], instance=context["lesson"])
    return render(request, "learnings/inbox.html", context)


@require_safe
def library(request: HttpRequest, slug: str) -> HttpResponse:
    """All of them, narrowed by the URL."""
    return render(request, "learnings/lesson_list.html", listing.library(project_of(request, slug), request.GET))


def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Write one; it is approved with that."""
    project = project_of(request, slug)
    form = LessonForm(project, request.POST or None)
    if request.method == "POST" and form.is_valid():
        lesson = curation.write(form.save(commit=False), person(request))
        messages.success(request, "Saved and approved. It reaches machines with the next version.")
        return redirect("learnings:lesson", slug, lesson.pk)
    context = {**listing.views(project), "form": form}
    return render(request, "learnings/lesson_new.html", context, status=422 if form.errors else 200)


def detail(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One, where it came from and went to; a post changes its words."""
    lesson = lesson_of(request, slug, pk)
    form = LessonForm(lesson.project, request.POST or None, instance=lesson)
    if request.method == "POST" and form.is_valid():
        return edited(request, lesson, form)
    shown = lesson_of(request, slug, pk) if form.errors else lesson
    context = {**listing.views(lesson.project), "lesson": shown, "form": form, "history": list(lesson.history),
               **listing.told(lesson), **listing.went_to(lesson)}  # fmt: skip
    return render(request, "learnings/lesson_detail.html", context, status=422 if form.errors else 200)


def edited(request: HttpRequest, lesson: Lesson, form: LessonForm) -> HttpResponse:
    """Keep the words, and approve it where that was asked along."""
    try:
        curation.edit(lesson, person(request), form.changed_data)
        if "approve" in request.POST:
            curation.decide(lesson, person(request), "approve")
        messages.success(request, "Saved and approved." if "approve" in request.POST else "Saved.")
    except NotPossible as error:
        messages.error(request, str(error))
    return back(request, lesson)


@require_POST
def decide(request: HttpRequest, slug: str, pk: int, verb: str) -> HttpResponse:
    """Approve, reject or reopen."""
    lesson = lesson_of(request, slug, pk)
    if verb not in curation.VERBS:
        raise Http404
    try:
        curation.decide(lesson, person(request), verb, request.POST.get("why", ""))
        messages.success(request, f"{curation.VERBS[verb][1]}: {lesson}")
    except NotPossible as error:
        messages.error(request, str(error))
    return back(request, lesson)


@require_POST
def merge(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Into another, by its number."""
    lesson, number = lesson_of(request, slug, pk), request.POST.get("into", "").strip().lstrip("#")
    try:
        into = numbered(lesson, number)
        curation.merge(lesson, into, person(request))
        messages.success(request, f"Merged into lesson {into.pk}: {into}")
    except NotPossible as error:
        messages.error(request, str(error))
    return back(request, lesson)


def numbered(lesson: Lesson, number: str) -> Lesson:
    """Another lesson of the project; NotPossible for a number that there is not."""
    known = number.isdecimal() and len(number) < 18
    found = Lesson.objects.filter(project=lesson.project, pk=int(number)).first() if known else None
    if found is None:
        raise NotPossible(f"There is no lesson {number[:20]!r} in this project. Its number is on its page.")
    return found


@require_POST
def bulk(request: HttpRequest, slug: str) -> HttpResponse:
    """The same for all that were chosen."""
    project, verb = project_of(request, slug), request.POST.get("verb", "")
    numbers = [int(pk) for pk in request.POST.getlist("lesson")[:MOST] if pk.isdecimal() and len(pk) < 18]
    chosen = list(Lesson.objects.filter(project=project, pk__in=numbers).order_by("pk"))
    try:
        if verb == "merge":
            messages.success(request, f"Merged into: {curation.merge_all(chosen, person(request))}")
        elif verb in curation.VERBS:
            moved = curation.bulk(project, person(request), verb, chosen)
            messages.success(request, f"{curation.VERBS[verb][1]}: {moved} of {len(chosen)}.")
    except NotPossible as error:
        messages.error(request, str(error))
    return redirect(f"{reverse('learnings:library', args=[slug])}?{request.POST.get('query', '')}")


def back(request: HttpRequest, lesson: Lesson) -> HttpResponse:
    """To the next one of the inbox where it was decided there, else to its page."""
    following = request.POST.get("following")
    if following is None:
        return redirect("learnings:lesson", lesson.project.slug, lesson.pk)
    at = lesson.pk if lesson.status == Lesson.Status.PENDING else following
    inbox = reverse("learnings:inbox", args=[lesson.project.slug])
    return redirect(f"{inbox}?at={at}" if str(at).isdecimal() else inbox)
