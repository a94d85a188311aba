"""Who asks, and what they may open: everything is fetched through the person, so a stranger gets 404."""

from typing import cast

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from .models import Project, User


def person(request: HttpRequest) -> User:
    """The signed-in user; LoginRequiredMiddleware has seen to it that there is one."""
    return cast(User, request.user)


def project_of(request: HttpRequest, slug: str) -> Project:
    """A project that this person may open; Http404 for any other."""
    return get_object_or_404(person(request).projects, slug=slug)
