"""The changes of a sandbox: the whole diff a page at a time, one file's lines, and what can be taken home."""

from collections.abc import Callable, Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header, urlencode
from django.views.decorators.http import require_safe

from codecourier import git
from codecourier.redact import Redactor
from sandboxes.changes import reading, showing
from sandboxes.changes.reading import Comparison
from sandboxes.checkpoints.store import ref_of
from sandboxes.models import Sandbox

from .pages import sandbox_of

DOWNLOADS = [
    ("patch", "Patch, for git apply"), ("bundle", "Bundle, for git fetch"), ("zip", "Zip of all files"),
]  # fmt: skip


def asked(request: HttpRequest, slug: str, pk: int) -> tuple[Sandbox, Comparison]:
    """Whose work, and which two states of it."""
    sandbox = sandbox_of(request, slug, pk)
    return sandbox, reading.comparison(sandbox, request.GET.get("from", ""), request.GET.get("to", ""))


@require_safe
def changes(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The tree and the files of one page: to htmx as a part, to anybody else as a page."""
    sandbox, found = asked(request, slug, pk)
    split = request.GET.get("view") == "split"
    context: dict[str, Any] = {
        "sandbox": sandbox,
        "project": sandbox.project,
        "found": found,
        "split": split,
        "downloads": DOWNLOADS,
    }
    names = {"from": found.base_name, "to": found.head_name, "view": "split" if split else "unified"}
    context |= {
        "query": urlencode(names),
        "names": names,
        "other": urlencode(names | {"view": "unified" if split else "split"}),
    }
    if not found.empty:
        try:
            address = f"{reverse('sandboxes:changes', args=[slug, pk])}?{context['query']}"
            context |= showing.listed(sandbox.project, found, address, request.GET.get("page"), split=split)
        except git.GitError as error:
            context["problem"] = f"The portal's repository can't be read: {error}"
    part = "HX-Request" in request.headers
    return render(request, f"sandboxes/{'_changes_view' if part else 'changes_detail'}.html", context)


@require_safe
def one(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The lines of one file of the diff."""
    sandbox, found = asked(request, slug, pk)
    path, split = request.GET.get("path", ""), request.GET.get("view") == "split"
    try:
        change = next((one for one in reading.changes(found) if one.path == path), None) if not found.empty else None
        entry = {"problem": "This file is the same in both states.", "ready": True}
        if change:
            entry = showing.lines(found, change, Redactor(sandbox.project.secrets()), split=split)
    except git.GitError as error:
        entry = {"problem": f"The portal's repository can't be read: {error}", "ready": True}
    return render(request, "sandboxes/_changes_lines.html", {"entry": entry, "split": split})


@require_safe
def download(request: HttpRequest, slug: str, pk: int, kind: str) -> HttpResponse | StreamingHttpResponse:
    """A patch, a bundle or a zip of what is compared, streamed."""
    sandbox, found = asked(request, slug, pk)
    if found.empty:
        return redirect("sandboxes:detail", slug, pk)
    makers: dict[str, tuple[str, Callable[[], Iterator[bytes]]]] = {
        "patch": ("text/x-diff", lambda: reading.whole_patch(found)),
        "bundle": ("application/octet-stream", lambda: reading.bundle(found, ref_of(pk, int(found.head_name)))),
        "zip": ("application/zip", lambda: reading.archive(found)),
    }
    if kind not in makers:
        raise Http404
    content_type, make = makers[kind]
    disposition = content_disposition_header(True, f"sandbox-{sandbox.pk}-{found.head_name}.{kind}") or "attachment"
    headers = {
        "Content-Disposition": disposition,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    return StreamingHttpResponse(make(), content_type=content_type, headers=headers)
