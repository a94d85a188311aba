"""Who asks, and what they may open: everything is fetched through the person, so a stranger gets 404."""

from collections.abc import Mapping
from typing import cast

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from .models import Project, User


def person(request: HttpRequest) -> User:
    """The signed-in user; LoginRequiredMiddleware has seen to it that there is one."""
    return cast(User, request.user)


def verb_of[Act](verbs: Mapping[str, Act], name: str) -> Act:
    """What a word in an address stands for; Http404 for one that stands for nothing."""
    if name not in verbs:
        raise Http404
    return verbs[name]


def project_of(request: HttpRequest, slug: str) -> Project:
    """A project that this person may open; Http404 for any other."""
    return get_object_or_404(person(request).projects, slug=slug)
