"""Who sees what of usage: members their project's, managers the whole organisation's; strangers nothing."""

from django.http import Http404, HttpRequest

from codecourier.access import person, project_of
from codecourier.models import Project, User
from codecourier.permissions import may


def scope_of(request: HttpRequest, slug: str) -> Project | None:
    """The project of a page, None for the organisation; Http404 for whoever may not see it."""
    if slug:
        return project_of(request, slug)
    if not sees_all(person(request)):
        raise Http404
    return None


def sees_all(user: User) -> bool:
    """Staff, and holders of the permission for reports."""
    return user.is_staff or user.has_perm("usage.view_reports")


def sets_budgets(user: User, project: Project | None) -> bool:
    """A project's budgets are its admins' to set, the others administrators'."""
    if project:
        return may(user, "settings", project)
    return user.is_staff or user.has_perm("usage.change_budget")
