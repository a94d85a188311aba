"""Board, cards, sessions, questions and chains, live."""

from typing import Any

from django.db.models import Model
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string

from codecourier.consumers import ProjectConsumer
from codecourier.models import User

from . import detail, listing, progress, report
from .models import Chain, Issue, IssueSession
from .views import chains, questions, sessions


class BoardConsumer(ProjectConsumer):
    """Board or list, narrowed by the socket's query as the page is by its own."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the cards."""
        context = listing.listing(self.project(user), user, self.params)
        return {**super().fragments(user), **listing.fragments(context)}


class RowConsumer(ProjectConsumer):
    """The page of one row."""

    model: type[Model]
    prefix: str
    related: tuple[str, ...] = ()
    shows: Any

    def row(self, user: User) -> Any:
        """The one of the socket's URL; Http404 unless this person may see it."""
        rows = self.model._default_manager.select_related("project", *self.related)
        return get_object_or_404(rows, project=self.project(user), pk=self.scope["url_route"]["kwargs"]["pk"])

    def topics(self, user: User) -> list[str]:
        """The frame's and its own."""
        return [*super().topics(user), f"{self.prefix}:{self.row(user).pk}"]

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the row's parts."""
        return {**super().fragments(user), **self.shows.fragments(self.shows.context(self.row(user)))}


class IssueConsumer(RowConsumer):
    """One card."""

    model, prefix, related, shows = Issue, "issue", ("created_by", "run", "duplicate_of"), detail


class ChainConsumer(RowConsumer):
    """One chain."""

    model, prefix, related, shows = Chain, "chain", ("created_by", "workflow"), progress


class SessionConsumer(RowConsumer):
    """One session; what its agent does is told by its sandbox and the job at work."""

    model, prefix, related, shows = IssueSession, "issue-session", ("created_by", "sandbox__template"), report

    def topics(self, user: User) -> list[str]:
        """The frame's, its own, its sandbox's."""
        session = self.row(user)
        return [*super().topics(user), *([f"sandbox:{session.sandbox_id}"] if session.sandbox_id else [])]


class SessionsConsumer(ProjectConsumer):
    """The list of sessions."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the rows."""
        found = sessions.rows_of(self.project(user), self.params)
        return {**super().fragments(user), **rows("issues/session_list.html", found)}


class QuestionsConsumer(ProjectConsumer):
    """The list of questions."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the rows."""
        found = questions.rows_of(self.project(user), self.params)
        return {**super().fragments(user), **rows("issues/question_list.html", found)}


class ChainsConsumer(ProjectConsumer):
    """The list of chains."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the rows."""
        found = chains.rows_of(self.project(user), self.params)
        return {**super().fragments(user), **rows("issues/chain_list.html", found)}


def rows(template: str, context: dict[str, Any]) -> dict[str, str]:
    """The live part of a list."""
    return {"rows": render_to_string(f"{template}#rows", {**context, "live": True})}
