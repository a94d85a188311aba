"""Parts of a conversation: an older window, one event whole."""

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from sandboxes import attachments, conversation

from .pages import sandbox_of


@require_safe
def older(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The turns of the window that ends before a place, for a page that puts them before its own."""
    sandbox = sandbox_of(request, slug, pk)
    found = conversation.page(sandbox, request.GET.get("before", ""))
    context = {"sandbox": sandbox, "project": sandbox.project, "conversation": found}
    return render(request, "sandboxes/_conversation_turns.html", context)


@require_safe
def event(request: HttpRequest, slug: str, pk: int, job: int, seq: int) -> HttpResponse:
    """One event on a page; with ?inside what is inside of it, of a tool call the beginnings unless ?all."""
    sandbox = sandbox_of(request, slug, pk)
    whole = "inside" not in request.GET or "all" in request.GET
    found = conversation.one(sandbox, job, seq, whole)
    if found is None:
        raise Http404
    context = {"entry": found.entry, "sections": found.sections, "html": found.html, "text": found.text}
    template = "_event_inside.html" if "inside" in request.GET else "event_detail.html"
    return render(request, f"sandboxes/{template}", {**context, "sandbox": sandbox, "project": sandbox.project})


@require_safe
def attachment(request: HttpRequest, slug: str, pk: int, file: int) -> HttpResponseBase:
    """A file that went with a message, as it was sent; never shown as a page."""
    found = attachments.stored(sandbox_of(request, slug, pk), file)
    if found is None:
        raise Http404
    path = attachments.place(found.path)
    kind = "application/octet-stream"
    return FileResponse(path.open("rb"), as_attachment=True, filename=found.name, content_type=kind)
