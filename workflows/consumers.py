"""Lists and pages of runs, live."""

from codecourier.consumers import ProjectConsumer
from codecourier.models import User

from . import listing


class RunListConsumer(ProjectConsumer):
    """The rows and counts of one list, narrowed by the socket's query as the page is by its own."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the list."""
        context = listing.runs(self.project(user), user, self.params)
        return {**super().fragments(user), **listing.fragments(context)}
