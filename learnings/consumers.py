"""The readings, live."""

from codecourier.consumers import ProjectConsumer
from codecourier.models import User

from . import listing


class SessionsConsumer(ProjectConsumer):
    """The rows of one list, narrowed by the socket's query as the page is by its own."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the list."""
        project, query = self.project(user), self.params
        key = ("learnings", project.pk, query.urlencode())
        shown = self.alike(key, lambda: listing.fragments(listing.sessions(project, query)))
        return {**super().fragments(user), **shown}
