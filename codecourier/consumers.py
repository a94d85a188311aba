"""Live pages: one socket each, which sends the full state of whatever changed as HTML fragments."""

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Hashable
from functools import partial
from types import SimpleNamespace
from typing import cast

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import Http404, HttpRequest, QueryDict
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string

from . import hub, registries
from .alike import Look
from .models import Project, User
from .shell import Shell

logger = logging.getLogger(__name__)

TICKING = re.compile(r"(<(?:time|data) [^>]*>)[^<]*")

# Close codes that static/js/live.js knows: on the first it signs in again, on the second it gives up.
ANONYMOUS, GONE = 4401, 4404
# Seconds between two renderings, at least; and so many times what one took, so that a busy page leaves room for others.
PACE, SHARE, SLOWEST = 0.1, 2, 2.0


class Closed(Exception):
    """This page may not be shown (any more); carries the close code."""


class PageConsumer(AsyncWebsocketConsumer):
    """The frame of a page outside of any project; pages that show more override `topics` and `fragments`."""

    task: "asyncio.Task[None] | None" = None
    woken_at = math.inf

    async def connect(self) -> None:
        """Accept first: only an accepted socket can tell the browser by its close code what is wrong."""
        self.sent: dict[str, str] = {}
        await self.accept()
        self.task = asyncio.create_task(self.follow())

    async def disconnect(self, code: int) -> None:
        """Stop following."""
        if self.task:
            self.task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pages only listen."""

    async def follow(self) -> None:
        """Render at once, then whenever a topic is nudged, for as long as the person may see the page."""
        try:
            async with hub.subscribe(*await database_sync_to_async(self.enter)()) as changes:
                while True:
                    self.woken_at = changes.woken_at
                    await self.push()
                    await changes.wait()
        except Closed as error:
            await self.close(error.args[0])
        except Http404:
            await self.close(GONE)
        except Exception:
            logger.exception("The live page %s failed", self.scope["path"])
            await self.close(1011)

    async def push(self) -> None:
        """Send the fragments that differ from what this browser has, then hold the pace."""
        began = time.monotonic()
        found = await database_sync_to_async(self.look)()
        # A browser lets its times and costs tick by itself: new words in them are no change.
        still = {name: TICKING.sub(r"\1", html) for name, html in found.items()}
        if changed := [html for name, html in found.items() if self.sent.get(name) != still[name]]:
            await self.send("".join(changed))
        self.sent = still
        await asyncio.sleep(min(SLOWEST, max(PACE, SHARE * (time.monotonic() - began))))

    def enter(self) -> list[str]:
        """The topics of this page; Closed or Http404 when it isn't for this person."""
        return self.topics(self.viewer())

    def look(self) -> dict[str, str]:
        """The fragments as they are now; who asks is looked at anew each time."""
        self.looking = Look.now(self.woken_at)
        return self.fragments(self.viewer())

    def viewer(self) -> User:
        """Whose session this is, as the database has it now; Closed when it is over."""
        session = SessionStore(self.scope["session"].session_key)
        user = get_user(cast(HttpRequest, SimpleNamespace(session=session)))
        if not isinstance(user, User):
            raise Closed(ANONYMOUS)
        return user

    @property
    def slug(self) -> str:
        """The project's, empty outside of any."""
        return str(self.scope["url_route"]["kwargs"].get("slug", ""))

    @property
    def params(self) -> QueryDict:
        """The query of the socket's URL, which is that of its page."""
        return QueryDict(self.scope["query_string"])

    def topics(self, user: User) -> list[str]:
        """What this page follows."""
        return [f"user:{user.pk}"]

    def fragments(self, user: User) -> dict[str, str]:
        """What this page shows."""
        return self.alike(("frame", user.pk, self.slug), Shell(user, self.slug).fragments)

    def alike(self, key: tuple[Hashable, ...], render: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Fragments that depend on nothing but the key and the database: other pages that show them have them too."""
        return self.looking.rendered(key, render)


class ProjectConsumer(PageConsumer):
    """A page of a project."""

    def project(self, user: User) -> Project:
        """Its project; Http404 for a stranger, also for one who was a member a moment ago."""
        return get_object_or_404(user.projects, slug=self.slug)

    def topics(self, user: User) -> list[str]:
        """The person's and the project's."""
        return [*super().topics(user), f"project:{self.project(user).pk}"]

    def fragments(self, user: User) -> dict[str, str]:
        """The frame of the project."""
        self.project(user)
        return super().fragments(user)


class DashboardConsumer(ProjectConsumer):
    """A project's dashboard."""

    def fragments(self, user: User) -> dict[str, str]:
        """The frame and the cards."""
        project = self.project(user)
        return {**super().fragments(user), **self.alike(("cards", project.pk), partial(self.cards, project))}

    def cards(self, project: Project) -> dict[str, str]:
        """What the apps have to tell of it."""
        cards = [card(project) for card in registries.cards]
        return {card.template: render_to_string(card.template, {**card.context, "live": True}) for card in cards}
