"""What steps answered, as it is shown: by contract, with text as safe HTML and findings that lead to their lines."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from django.utils.safestring import SafeString
from pydantic import BaseModel, ValidationError

from codecourier import markdown
from sandboxes.changes.rendering import Note

from .contracts import CONTRACTS, Choice, Finding, Plan, Report, Score, Verdict
from .models import StepRun

# Of the rest only the beginning is rendered.
RENDERED = 60


@dataclass(frozen=True)
class Found:
    """One finding; `number` counts from 1."""

    number: int
    finding: Finding
    problem: SafeString
    suggestion: SafeString | str

    @property
    def where(self) -> str:
        """Its file and line."""
        return f"{self.finding.file}:{self.finding.line}" if self.finding.line else self.finding.file

    @property
    def id(self) -> str:
        """Of its place in the diff."""
        return f"note-{self.number}"


@dataclass(frozen=True)
class Answer:
    """What is shown of an answer; `kind` is the contract's name, empty for one that no contract knows any more."""

    kind: str
    summary: SafeString | str = ""
    passed: bool = False
    findings: list[Found] = field(default_factory=list)
    score: int | None = None
    # (name, score, reason), (letter, strength, weakness), (title, files, detail) by kind.
    parts: list[tuple[Any, Any, Any]] = field(default_factory=list)
    choice: str = ""


def read(row: StepRun | None) -> Answer | None:
    """The answer of a row; None without one."""
    if row is None or not isinstance(row.answer, dict):
        return None
    kind = row.spec["contract"]
    if kind not in CONTRACTS:
        return None
    try:
        return show(CONTRACTS[kind].model_validate(row.answer))
    except ValidationError:
        return Answer("", markdown.as_written(str(row.answer)[: markdown.LONGEST]))


def show(said: BaseModel) -> Answer:
    """By contract."""
    match said:
        case Verdict():
            found = [found_of(number, one) for number, one in enumerate(said.findings, 1)]
            return Answer("verdict", html(said.summary), said.verdict == "pass", found)
        case Score():
            sides = [(name, side.score, html(side.reason)) for name, side in said.dimensions]
            return Answer("score", html(said.summary), score=said.score, parts=sides)
        case Choice():
            sides = [(one.candidate, html(one.strength), html(one.weakness)) for one in said.candidates]
            return Answer("choice", html(said.reason), parts=sides, choice=said.choice)
        case Plan():
            steps = [(step.title, step.files, html(step.detail)) for step in said.steps]
            return Answer("plan", html(said.summary), parts=steps)
        case Report():
            return Answer("text", html(said.text))
    raise TypeError(said)


def found_of(number: int, finding: Finding) -> Found:
    """A finding with its text as HTML, or as it was written when there are very many."""
    made = html if number <= RENDERED else markdown.as_written
    return Found(number, finding, made(finding.problem), made(finding.suggestion) if finding.suggestion else "")


def html(text: str) -> SafeString:
    """Markdown of an agent."""
    return markdown.rendered(text)


def notes(answer: Answer | None) -> dict[str, list[Note]]:
    """Findings by file, to stand in a diff; the empty path has those that are about no file."""
    found = defaultdict[str, list[Note]](list)
    for one in answer.findings if answer else []:
        title = one.finding.severity.capitalize()
        note = Note(one.id, one.finding.line, title, one.problem, one.suggestion)
        found[one.finding.file.removeprefix("./")].append(note)
    return dict(found)
