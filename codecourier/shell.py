"""What every page's frame shows: projects, navigation, what runs now, the bell, the theme."""

from functools import cached_property

from django.http import HttpRequest
from django.template.loader import render_to_string

from . import registries
from .models import Notification, Project, User
from .permissions import may

THEMES = ("system", "light", "dark")


class Shell:
    """The frame of one person's page, in a project or outside of any; nothing is asked before it is shown."""

    def __init__(self, user: User, slug: str = "") -> None:
        self.user = user
        self.slug = slug

    @cached_property
    def projects(self) -> list[Project]:
        """What the switcher offers."""
        return list(self.user.projects)

    @cached_property
    def project(self) -> Project | None:
        """Where the page is; None outside of any project."""
        return next((project for project in self.projects if project.slug == self.slug), None)

    @cached_property
    def panels(self) -> list[registries.Panel]:
        """The navigation of a project, as far as this person may go."""
        project = self.project
        if project is None:
            return []
        allowed = {
            needs: may(self.user, needs, project) for needs in {panel.needs for panel in registries.panels} - {""}
        }
        return [panel for panel in sorted(registries.panels) if allowed.get(panel.needs, True)]

    @cached_property
    def banners(self) -> list[registries.Banner]:
        """What everybody in the project should know now."""
        project = self.project
        return [shown for banner in registries.banners for shown in banner(project)] if project else []

    @cached_property
    def running(self) -> int:
        """How much of the project runs now."""
        project = self.project
        return sum(count(project) for count in registries.running) if project else 0

    @cached_property
    def unread(self) -> int:
        """What waits under the bell."""
        return Notification.objects.filter(user=self.user, read_at=None).count()

    def fragments(self) -> dict[str, str]:
        """The live parts, by name."""
        context = {"shell": self, "live": True}
        return {name: render_to_string(f"_shell.html#{name}", context) for name in ("running", "bell", "pocket")}


def context(request: HttpRequest) -> dict[str, object]:
    """For every template that is rendered with a request."""
    theme = request.COOKIES.get("theme", "")
    found: dict[str, object] = {"theme": theme if theme in THEMES else "system"}
    user = getattr(request, "user", None)
    if isinstance(user, User):
        match = request.resolver_match
        found["shell"] = Shell(user, str(match.kwargs.get("slug", "")) if match else "")
    return found
