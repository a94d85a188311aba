"""Servers in a machine: which there are, and the way into one."""

from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from sandboxes import e2b, previews
from sandboxes.models import Sandbox, Wanted

from .pages import sandbox_of


@require_safe
def servers(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What listens now, as the page asks every few seconds while somebody looks at it."""
    sandbox = sandbox_of(request, slug, pk)
    running = sandbox.status == Sandbox.Status.RUNNING and sandbox.wanted == Wanted.RUN
    context = {"sandbox": sandbox, "project": sandbox.project, "offered": bool(settings.PREVIEW_DOMAIN)}
    try:
        context["servers"] = previews.LOOKS.servers(sandbox) if running and context["offered"] else []
    except e2b.ProviderError as error:
        context["problem"] = str(error)
    return render(request, "sandboxes/_previews_servers.html", context)


@require_safe
@never_cache
def enter(request: HttpRequest, slug: str, pk: int, port: int) -> HttpResponse:
    """Into one of them: to its own origin with a ticket, which it takes for a pass."""
    sandbox = sandbox_of(request, slug, pk)
    if not settings.PREVIEW_DOMAIN or not 0 < port < 65536:
        messages.error(request, "There is no preview of this. A port is a number from 1 to 65535, and previews need the setting PREVIEW_DOMAIN.")  # fmt: skip  # noqa: E501
        return redirect("sandboxes:detail", slug, pk)
    address = previews.Address(port, sandbox.pk)
    words = {"ticket": previews.ticket(request, address), "to": request.GET.get("to", "/")}
    base = settings.BASE_URL or f"{request.scheme}://{request.get_host()}"
    answer = redirect(f"{address.origin(base)}{previews.ENTER}?{urlencode(words)}")
    answer["Referrer-Policy"] = "no-referrer"
    return answer
