"""Members: who they are, their roles, invitations."""

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from codecourier import members
from codecourier.access import person, project_of
from codecourier.models import Invitation, Membership, User
from codecourier.permissions import may, project_for


def base_url(request: HttpRequest) -> str:
    """Where links lead that leave the portal."""
    return settings.BASE_URL or request.build_absolute_uri("/")


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """Everybody in the project, and who is invited."""
    project, user = project_of(request, slug), person(request)
    rows = Membership.objects.filter(project=project).select_related("user", "invited_by").order_by("user__email")
    context = {
        "project": project, "members": rows, "roles": Membership.Role.choices, "now": timezone.now(),
        "may_invite": may(user, "members", project), "may_change": may(user, "roles", project),
        "invitations": Invitation.objects.filter(project=project, accepted_at=None).select_related("invited_by"),
    }  # fmt: skip
    return render(request, "codecourier/members.html", context)


def attempt(request: HttpRequest, slug: str, act: Callable[[], object], done: str) -> HttpResponse:
    """Do it, or say why it can't be done."""
    try:
        act()
        messages.success(request, done)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("members", slug)


@require_POST
def invite(request: HttpRequest, slug: str) -> HttpResponse:
    """Mail somebody a link. Only owners make owners and admins."""
    project, user = project_for(request, slug, "members"), person(request)
    email, role = request.POST.get("email", ""), request.POST.get("role", Membership.Role.MEMBER)
    if role != Membership.Role.MEMBER and not may(user, "roles", project):
        role = Membership.Role.MEMBER
    make = lambda: members.invite(project, user, email, role, base_url(request))  # noqa: E731
    return attempt(request, slug, make, f"An invitation is on its way to {email.strip()}.")


@require_POST
def withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Take an invitation back."""
    project = project_for(request, slug, "members")
    found = get_object_or_404(Invitation, project=project, pk=pk, accepted_at=None)
    return attempt(request, slug, lambda: members.withdraw(found, person(request)), "The invitation is withdrawn.")


@require_POST
def set_role(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Give a member another role."""
    project = project_for(request, slug, "roles")
    found = get_object_or_404(Membership.objects.select_related("user", "project"), project=project, pk=pk)
    role = request.POST.get("role", "")
    return attempt(
        request, slug, lambda: members.set_role(found, person(request), role), f"{found.user} is {role} now."
    )


@require_POST
def remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Remove a member; everybody may leave, admins remove members, owners anybody."""
    user = person(request)
    found = get_object_or_404(Membership.objects.select_related("user", "project"), project__slug=slug, pk=pk)
    needed = "members" if found.role == Membership.Role.MEMBER else "roles"
    project = project_of(request, slug) if found.user_id == user.pk else project_for(request, slug, needed)
    done = f"You left {project}." if found.user_id == user.pk else f"{found.user} is no member any more."
    answer = attempt(request, slug, lambda: members.remove(found, user), done)
    return redirect("projects") if not user.projects.filter(pk=project.pk).exists() else answer


@never_cache
@login_not_required
@sensitive_post_parameters("password")
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """The invited person's side of a link: accept it, or make an account for it first."""
    found = members.invitation_of(token)
    if found is None:
        return render(request, "codecourier/invitation.html", {"gone": True}, status=410)
    known = User.objects.filter(email=found.email).exists()
    context = {"invitation": found, "known": known}
    if request.method == "POST":
        try:
            return let_in(request, found)
        except ValidationError as error:
            context |= {"errors": error.messages, "name": request.POST.get("name", "")}
    return render(request, "codecourier/invitation.html", context, status=422 if "errors" in context else 200)


def let_in(request: HttpRequest, found: Invitation) -> HttpResponse:
    """Accept as whoever is signed in, else with a new account."""
    if request.user.is_authenticated:
        members.accept(found, person(request))
    else:
        login(request, members.sign_up(found, request.POST.get("name", ""), request.POST.get("password", "")))
    return redirect("project", found.project.slug)
