"""Who may do what in a project: one table, asked by views, sockets and the admin alike."""

from django.http import Http404, HttpRequest

from .access import person, project_of
from .models import Membership, Project, User

Role = Membership.Role
RANK = {Role.MEMBER: 0, Role.ADMIN: 1, Role.OWNER: 2}

# What is not named here is day-to-day work, which every member may do.
NEEDS = {
    "settings": Role.ADMIN,
    "keys": Role.ADMIN,
    "members": Role.ADMIN,
    "roles": Role.OWNER,
    "transfer": Role.OWNER,
    "delete": Role.OWNER,
}


def role_of(user: User, project: Project) -> str | None:
    """The person's role in a project; staff are owners everywhere, strangers have none."""
    if user.is_staff:
        return Role.OWNER
    return Membership.objects.filter(project=project, user=user).values_list("role", flat=True).first()


def may(user: User, what: str, project: Project) -> bool:
    """Whether the person's role includes it."""
    role = role_of(user, project)
    return role is not None and RANK[Role(role)] >= RANK[NEEDS[what]]


def project_for(request: HttpRequest, slug: str, what: str) -> Project:
    """A project in which this person may do that; Http404 otherwise, as for one that there is not."""
    project = project_of(request, slug)
    if not may(person(request), what, project):
        raise Http404
    return project
