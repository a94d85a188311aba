"""A local host dressed as E2B's cloud: machines only from templates that were built, by the published API.

Paths, status codes and fields are those of https://e2b.dev/docs/api-reference (templates), as SDK 2.63 uses them.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests import faults
from tests.faults import Faults

# The most log entries in one answer.
PAGE = 100
STATUS = re.compile(
    r"/templates/(?P<template>[^/]+)/builds/(?P<build>[^/?]+)/status(\?logsOffset=(?P<offset>\d+))?(&limit=\d+)?$"
)


@dataclass
class Templates:
    """What the account has: names whose build is ready, builds under way, and what each was asked with."""

    ready: set[str] = field(default_factory=set)
    builds: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def request(self, body: dict[str, Any]) -> dict[str, Any]:
        """Note a build that is to start."""
        with self.lock:
            build = f"build-{len(self.builds) + 1}"
            self.builds[build] = {**body, "status": "waiting", "lines": [], "reason": "", "start": None}
        return {
            "templateID": f"id-{body['name']}", "buildID": build, "public": False,
            "names": [body["name"]], "tags": [], "aliases": [body["name"]],
        }  # fmt: skip

    def say(self, *lines: str) -> None:
        """Let every build print."""
        for build in self.builds.values():
            build["lines"] += lines

    def finish(self, status: str = "ready", reason: str = "") -> None:
        """End every build under way."""
        for build in self.builds.values():
            if build["status"] == "building":
                build.update(status=status, reason=reason)
                if status == "ready":
                    self.ready.add(build["name"])

    def told(self, build_id: str, offset: int) -> dict[str, Any]:
        """The status of a build with its log from an entry on."""
        build = self.builds[build_id]
        lines = build["lines"][offset : offset + PAGE]
        entries = [{"timestamp": "2026-11-23T03:00:00Z", "level": "info", "message": line} for line in lines]
        reason = {"reason": {"message": build["reason"]}} if build["reason"] else {}
        named = {"templateID": f"id-{build['name']}", "buildID": build_id}
        return {"logs": [], "logEntries": entries, "status": build["status"], **named, **reason}


class Handler(faults.Handler):
    """Answers for templates itself and asks the host for the rest."""

    def ask(self, faults: Faults, body: bytes) -> httpx.Response:
        """As the cloud would."""
        templates: Templates = self.server.templates  # type: ignore[attr-defined]
        if self.command == "POST" and self.path == "/v3/templates":
            return httpx.Response(202, json=templates.request(json.loads(body)))
        if self.path.startswith("/templates/aliases/"):
            name = self.path.rpartition("/")[2]
            known = name in templates.ready
            about = {"templateID": f"id-{name}", "public": False}
            return httpx.Response(200, json=about) if known else httpx.Response(404, json=NOT_FOUND)
        if found := STATUS.match(self.path):
            return httpx.Response(200, json=templates.told(found["build"], int(found["offset"] or 0)))
        if self.command == "POST" and self.path.startswith("/v2/templates/"):
            build = templates.builds[self.path.rpartition("/")[2]]
            build.update(status="building", start=json.loads(body))
            return httpx.Response(202)
        if self.command == "POST" and self.path == "/v2/sandboxes" and not self.built(templates, body):
            return httpx.Response(404, json=NOT_FOUND)
        return super().ask(faults, body)

    def built(self, templates: Templates, body: bytes) -> bool:
        """Whether the account has the template that a machine is asked from."""
        return json.loads(body)["templateID"] in templates.ready


NOT_FOUND = {"code": 404, "message": "template not found"}


@contextmanager
def serving(target: str) -> Iterator[tuple[Faults, Templates]]:
    """The cloud before a local host, running."""
    templates = Templates()

    class Ours(Handler):
        """With the account of this test."""

        def setup(self) -> None:
            self.server.templates = templates  # type: ignore[attr-defined]
            super().setup()

        do_GET = do_POST = do_DELETE = do_PUT = faults.Handler.handle_any

    with faults.proxy(target, Ours) as proxy:
        yield proxy, templates
