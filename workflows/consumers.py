"""Lists and pages of runs, live."""

import json
from typing import Any

from django.shortcuts import get_object_or_404

from codecourier.consumers import ProjectConsumer
from codecourier.models import User

from . import listing, page
from .models import Run


class RunListConsumer(ProjectConsumer):
    """The rows and counts of one list, narrowed by the socket's query as the page is by its own."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the list."""
        context = listing.runs(self.project(user), user, self.params)
        return {**super().fragments(user), **listing.fragments(context)}


class RunConsumer(ProjectConsumer):
    """One run: the step at work, or the one that the viewer stays at.

    From the browser comes `{"step_run": id}` when somebody begins to look closer at a step.
    """

    stays: str = ""

    def run(self, user: User) -> Run:
        """The one of the socket's URL; Http404 unless this person may see it."""
        return get_object_or_404(page.runs(), project=self.project(user), pk=self.scope["url_route"]["kwargs"]["pk"])

    def topics(self, user: User) -> list[str]:
        """The frame's and the run's own; what its sandboxes do concerns the project."""
        return [*super().topics(user), f"run:{self.run(user).pk}"]

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and every part of the page."""
        params = {"step_run": self.stays or self.params.get("step_run", "")}
        return {**super().fragments(user), **page.fragments(page.page(self.run(user), params))}

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Where the viewer stays; anything else is ignored."""
        try:
            said: Any = json.loads(text_data or "")
        except (ValueError, RecursionError):
            return
        asked = said.get("step_run") if isinstance(said, dict) else None
        if isinstance(asked, int):
            self.stays = str(asked)
