"""Signing in and out, notifications, the theme."""

from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from codecourier import live, signin
from codecourier.access import person
from codecourier.forms import ProfileForm
from codecourier.models import Notification
from codecourier.shell import THEMES

PAGE = 50


def onward(request: HttpRequest, default: str = "home") -> HttpResponse:
    """To where the person wanted to go, if that is a page of ours."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    ours = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return redirect(target if ours else default)


@never_cache
@login_not_required
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """By a link for one use; only the button uses it up, so that a mail program's preview doesn't."""
    user = signin.user_of(token)
    if user is None:
        return render(request, "codecourier/sign_in_link.html", {"used": True}, status=410)
    if request.method == "POST":
        login(request, user)
        return redirect("home")
    return render(request, "codecourier/sign_in_link.html", {"person": user})


def overview(request: HttpRequest) -> HttpResponse:
    """This person's account: the name, and where the ways in are changed."""
    form = ProfileForm(request.POST or None, instance=person(request))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your name is saved.")
        return redirect("account")
    return render(request, "codecourier/account.html", {"form": form}, status=422 if form.errors else 200)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End this session, on every page that it has open."""
    user = person(request)
    logout(request)
    live.nudge(f"user:{user.pk}")
    return redirect("sign-in")


@require_safe
def notifications(request: HttpRequest) -> HttpResponse:
    """What this person was told, newest first."""
    rows = Notification.objects.filter(user=person(request)).select_related("project")
    return render(
        request, "codecourier/notifications.html", {"page": Paginator(rows, PAGE).get_page(request.GET.get("page"))}
    )


@require_POST
def mark_read(request: HttpRequest) -> HttpResponse:
    """One notification, or all of them, on every open page."""
    user = person(request)
    rows = Notification.objects.filter(user=user, read_at=None)
    if chosen := request.POST.get("id", ""):
        rows = rows.filter(pk=chosen) if chosen.isdecimal() else rows.none()
    rows.update(read_at=timezone.now())
    live.nudge(f"user:{user.pk}")
    return redirect("notifications")


@login_not_required
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark, or as the system has it; kept in a cookie."""
    response, chosen = onward(request), request.POST.get("theme", "")
    if chosen not in THEMES:
        messages.error(request, "A theme is light, dark or system.")
        return response
    response.set_cookie("theme", chosen, max_age=365 * 86_400, samesite="Lax", secure=request.is_secure())
    return response


@login_not_required
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """For who asks without a page that names it, such as a window that shows a file."""
    return redirect(static("img/courier.svg"))
