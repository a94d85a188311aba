"""The conversation of one sandbox, live: HTML of what is new, one message under way at a time.

Text frames are JSON: `{"html", "after", "anew"}` (see `conversation.Message`) from here, `{"done": true}` from the
browser for each: a slow one gets what has happened meanwhile at once.
"""

import asyncio
import json
import logging
import time
from dataclasses import asdict

from django.http import Http404
from django.shortcuts import get_object_or_404

from codecourier import hub
from codecourier.consumers import GONE, PACE, SHARE, SLOWEST, Closed, ProjectConsumer
from sandboxes import conversation, output
from sandboxes.models import Sandbox

logger = logging.getLogger(__name__)

# A browser that says nothing for so long is dropped.
DEAD_SECONDS = 60.0
SLOW = 1013


class ConversationConsumer(ProjectConsumer):
    """One viewer."""

    async def connect(self) -> None:
        """As every page's socket, from the place that the browser names."""
        self.done = asyncio.Event()
        self.follower = conversation.Follower(self.pk, self.params.get("after", ""))
        await super().connect()

    @property
    def pk(self) -> int:
        """The sandbox of the socket's URL."""
        return int(self.scope["url_route"]["kwargs"]["pk"])

    async def follow(self) -> None:
        """For as long as the person may see it."""
        try:
            await self.pump()
        except Closed as error:
            await self.close(error.args[0])
        except Http404:
            await self.close(GONE)
        except Exception:
            logger.exception("The conversation at %s failed", self.scope["path"])
            await self.close(1011)

    async def pump(self) -> None:
        """Look at once and at every nudge; the job that works is another topic with each turn."""
        while True:
            topics = self.follower.topics
            async with hub.subscribe(*topics) as changes:
                while True:
                    await self.push()
                    if self.follower.topics != topics:
                        break
                    await changes.wait()

    async def push(self) -> None:
        """Send what is new, a message at a time, then hold the pace."""
        began = time.monotonic()
        found = await output.in_thread(self.news)
        took = time.monotonic() - began
        for message in found:
            await self.hand_over(message)
        await asyncio.sleep(min(SLOWEST, max(PACE, SHARE * took)))

    def news(self) -> list[conversation.Message]:
        """What is new; Http404 or Closed unless this person may see the sandbox now."""
        get_object_or_404(Sandbox, project=self.project(self.viewer()), pk=self.pk)
        return list(self.follower.look())

    async def hand_over(self, message: conversation.Message) -> None:
        """Until the browser has it."""
        self.done.clear()
        await self.send(json.dumps(asdict(message)))
        try:
            async with asyncio.timeout(DEAD_SECONDS):
                await self.done.wait()
        except TimeoutError:
            raise Closed(SLOW) from None

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Whatever it says, it has come to the end of a message."""
        self.done.set()
