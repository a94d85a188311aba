"""What higher apps tell lower ones, filled in `AppConfig.ready`: lower apps stay ignorant of higher ones.

- guards: called inside a move's transaction with (row, to); may raise `lifecycle.Refused`.
- sweepers: for each leased model the task that brings one of its rows forward.
- panels: entries of the navigation; cards: what the dashboard of a project shows; running: what counts as running now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.tasks import Task

guards: list[Callable[[models.Model, str], None]] = []
sweepers: dict[type[models.Model], Task] = {}
# Called about once a second by the relay, in a thread, outside any transaction.
chores: list[Callable[[], Any]] = []


@dataclass(frozen=True, order=True)
class Panel:
    """One entry of a project's navigation; `url` is a URL name that takes the project's slug."""

    order: int
    title: str
    icon: str
    url: str
    key: str  # pressed after `g`
    needs: str = ""  # a permission without which it isn't shown


@dataclass(frozen=True)
class Card:
    """One part of a project's dashboard: a template and what it shows."""

    template: str
    context: dict[str, Any]


panels: list[Panel] = []
# Each is called with a project.
cards: list[Callable[[models.Model], Card]] = []
running: list[Callable[[models.Model], int]] = []
# What must end before a project can be deleted: each asks it to end, and says in a sentence what isn't over yet.
holds: list[Callable[[Any], str]] = []
# What a new project starts with; each is called with it, in the transaction that makes it.
newcomers: list[Callable[[Any], None]] = []
# What a new installation starts with; each changes nothing that is there.
seeds: list[Callable[[], Any]] = []
