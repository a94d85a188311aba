"""What steps answer with: pydantic models whose JSON Schema is put into the prompt.

All is bounded, as nothing that an agent writes is trusted.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from personas.roles import ROLES

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Path = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=20_000)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60_000)]


class Answer(BaseModel):
    """What all have in common: other fields than those are left out."""

    model_config = ConfigDict(extra="ignore")


class Finding(Answer):
    """One thing that is wrong, where, and what to do about it."""

    severity: Literal["critical", "high", "medium", "low"]
    file: Path = Field("", description="Relative to the project; empty when it is about no file.")
    line: int | None = Field(None, ge=1)
    problem: Text
    suggestion: Text = ""


class Verdict(Answer):
    """Whether the work is good enough to be merged."""

    verdict: Literal["pass", "fail"]
    summary: Text
    findings: list[Finding] = Field(default_factory=list, max_length=200)


class Dimension(Answer):
    """One side of the work."""

    score: int = Field(ge=0, le=100)
    reason: Text


class Dimensions(Answer):
    """The sides that every evaluator looks at."""

    correctness: Dimension
    tests: Dimension
    readability: Dimension
    scope: Dimension


class Score(Answer):
    """How good finished work is, from 0 to 100."""

    score: int = Field(ge=0, le=100, description="Overall.")
    summary: Text
    dimensions: Dimensions


class Candidate(Answer):
    """What decides about one candidate."""

    candidate: Literal["A", "B", "C", "D", "E"]
    strength: Text
    weakness: Text


class Choice(Answer):
    """Which candidate goes on."""

    choice: Literal["A", "B", "C", "D", "E"]
    reason: Text
    candidates: list[Candidate] = Field(default_factory=list, max_length=5)


class Task(Answer):
    """One step of a plan."""

    title: Line
    files: list[Path] = Field(default_factory=list, max_length=100)
    detail: Text = ""


class Plan(Answer):
    """What is to be done, in order."""

    summary: Text
    steps: list[Task] = Field(min_length=1, max_length=100)


class Report(Answer):
    """A text that the next steps are given."""

    text: Words = Field(description="Markdown.")


CONTRACTS: dict[str, type[BaseModel]] = {
    "verdict": Verdict, "score": Score, "choice": Choice, "plan": Plan, "text": Report,
}  # fmt: skip
_BY_ROLE = {"checker": "verdict", "evaluator": "score", "judge": "choice", "planner": "plan"}


def of_role(role: str) -> str:
    """The name of what a role answers with; empty for those whose commits are their answer."""
    known = ROLES.get(role)
    if known is None or known.writes:
        return ""
    return _BY_ROLE.get(role, "text")
