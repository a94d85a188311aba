"""The lists, and the page of one sandbox, live."""

from django.shortcuts import get_object_or_404

from codecourier.consumers import ProjectConsumer
from codecourier.models import User
from sandboxes import listing, record
from sandboxes.models import Sandbox
from sandboxes.publishing import listing as publishing


class ListConsumer(ProjectConsumer):
    """The rows and counts of one list, narrowed by the socket's query as the page is by its own."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the list."""
        project, query = self.project(user), self.params
        key = ("sandboxes", project.pk, user.pk, query.urlencode())
        shown = self.alike(key, lambda: listing.fragments(listing.listing(project, user, query)))
        return {**super().fragments(user), **shown}


class PullsConsumer(ProjectConsumer):
    """The branches and pull requests of a project, narrowed in the same way."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the list."""
        project, query = self.project(user), self.params
        key = ("pulls", project.pk, query.urlencode())
        shown = self.alike(key, lambda: publishing.fragments(publishing.listing(project, query)))
        return {**super().fragments(user), **shown}


class DetailConsumer(ProjectConsumer):
    """One sandbox."""

    def sandbox(self, user: User) -> Sandbox:
        """The one of the socket's URL; Http404 unless this person may see it."""
        rows = Sandbox.objects.select_related("project", "template", "created_by", "wanted_by")
        return get_object_or_404(rows, project=self.project(user), pk=self.scope["url_route"]["kwargs"]["pk"])

    def topics(self, user: User) -> list[str]:
        """The frame's and the sandbox's own."""
        return [*super().topics(user), f"sandbox:{self.sandbox(user).pk}"]

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and every part of the record."""
        sandbox, job = self.sandbox(user), self.params.get("job", "")
        key = ("sandbox", sandbox.pk, job)
        return {**super().fragments(user), **self.alike(key, lambda: record.fragments(record.record(sandbox, job)))}
