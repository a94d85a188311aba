"""What higher apps tell lower ones, filled in `AppConfig.ready`: lower apps stay ignorant of higher ones.

- guards: called inside a move's transaction with (row, to); may raise `lifecycle.Refused`.
- sweepers: for each leased model the task that brings one of its rows forward.
- panels: entries of the navigation; cards: what the dashboard of a project shows; running: what counts as running now.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import models
from django.tasks import Task
from pydantic import BaseModel

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
    """One part of a project's dashboard or of a persona's page: a template and what it shows."""

    template: str
    context: dict[str, Any]


@dataclass(frozen=True)
class Tab:
    """A tab of a project's settings. `show` answers with (HTML, status); 303 when it has saved."""

    title: str
    show: Callable[[Any, Any], tuple[str, int]]


@dataclass(frozen=True)
class Addition:
    """A versioned text that every new machine of a project is told, as one more context."""

    name: str
    text: str
    version: int


@dataclass(frozen=True)
class Remark:
    """What another app says of a row: an icon in lists, where it has one, and a line on the row's own page.

    `act` is an address that is posted to when somebody presses `word`.
    """

    title: str
    text: str
    icon: str = ""
    url: str = ""
    act: str = ""
    word: str = ""


@dataclass(frozen=True)
class Banner:
    """What everybody in a project should know while it lasts: a level as of notifications, a sentence, where to go."""

    level: str
    text: str
    url: str


panels: list[Panel] = []
# Each is called with a project, for every page of it.
banners: list[Callable[[models.Model], Iterable[Banner]]] = []
# By the last part of their address.
tabs: dict[str, Tab] = {}
# Each is called with a project.
cards: list[Callable[[models.Model], Card]] = []
# Each is called with a persona: who works with it, and what it did.
uses: list[Callable[[models.Model], Card]] = []
running: list[Callable[[models.Model], int]] = []
# Columns that an app encrypts by itself: (name, model, column), for the rotation of the key.
sealed: list[tuple[str, type[models.Model], str]] = []
# What must end before a project can be deleted: each asks it to end, and says in a sentence what isn't over yet.
holds: list[Callable[[Any], str]] = []
# What a new project starts with; each is called with it, in the transaction that makes it.
newcomers: list[Callable[[Any], None]] = []
# What to say in the rows when the stack of `up` has ended and its local machines with it.
farewells: list[Callable[[], Any]] = []
# What a new installation starts with; each changes nothing that is there.
seeds: list[Callable[[], Any]] = []
# Each is called with a project and a role (empty for a machine without one): what such a machine is told as well.
additions: list[Callable[[Any, str], Iterable[Addition]]] = []
# Each is called with sandboxes of one project: what is to be said of them, by their numbers.
remarks: list[Callable[[Sequence[Any]], Mapping[int, Remark]]] = []
# Each is called with a run of a workflow: what started it, where that app knows, with its address.
origins: list[Callable[[Any], Remark | None]] = []
# What the search in the frame looks through besides sandboxes: each is called with a project and a text, and says how
# many of its own rows have that, and where they are listed; None for none.
finders: list[Callable[[Any, str], Remark | None]] = []
# What runs were expected to cost at their launch, in USD by their ids.
expectations: list[Callable[[Collection[int]], Mapping[int, Decimal]]] = []
# What answers by contract look like: pydantic models by name; see `sandboxes.contracts`.
contracts: dict[str, type[BaseModel]] = {}
# What things cost: each is called with a service and a model (empty for machine time) and returns what answers, for any
# moment, with the price in USD of one unit of each metric that it knows; the first that knows any is believed.
pricers: list[Callable[[str, str], Callable[[datetime], Mapping[str, Decimal]]]] = []
# What has been recorded of sandboxes: each is called with their ids and returns the cost in USD by the facts' keys (as
# in `sandboxes.metering`), None where there was no price. What is recorded isn't priced again.
ledgers: list[Callable[[Collection[int]], Mapping[str, Decimal | None]]] = []
# The same of runs, for those of their sandboxes that are there no more: each is called with runs' ids and returns, by
# them, the cost (`sandboxes.price.Cost`) and the number of tokens.
removed: list[Callable[[Collection[int]], Mapping[int, tuple[Any, int]]]] = []
# What there is against new work: each is called with a project, a person (or None) and a sandbox's labels, and returns
# a sentence that says who can change it; empty when there is nothing.
refusals: list[Callable[[Any, Any, Mapping[str, Any]], str]] = []
# The same for a turn that is about to run: what admits it may set something aside for it.
admissions: list[Callable[[Any], str]] = []
# How iterations of runs were judged: each is called with ids of runs and returns, by (run, iteration), whether it was
# approved.
verdicts: list[Callable[[Sequence[int]], Mapping[tuple[int, int], bool]]] = []
