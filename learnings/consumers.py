"""The readings, live."""

from codecourier.consumers import ProjectConsumer
from codecourier.models import User

from . import listing


class SessionsConsumer(ProjectConsumer):
    """The rows of one list, narrowed by the socket's query as the page is by its own."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the list."""
        context = listing.sessions(self.project(user), self.params)
        return {**super().fragments(user), **listing.fragments(context)}
