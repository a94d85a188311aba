"""What a learning session has to answer with."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from personas.roles import ROLES

from .models import Lesson
from .models.lesson import MOST_CHARS

MOST_LESSONS, MOST_PLACES = 10, 8


def words(name: str) -> StringConstraints:
    """A text that says something, as long as the database takes it."""
    return StringConstraints(strip_whitespace=True, min_length=10, max_length=MOST_CHARS[name])


class Proposal(BaseModel):
    """One lesson, for agents that have not seen the work it comes from."""

    description: Annotated[str, words("description")] = Field(description="What goes wrong without it, and why.")
    trigger: Annotated[str, words("trigger")] = Field(description="When it applies.")
    behaviour: Annotated[str, words("behaviour")] = Field(description="What to do then.")
    severity: Literal["low", "medium", "high", "critical"] = Field(description="What it costs not to know it.")
    category: Literal[tuple(Lesson.Category.values)] = Field(description="What it is about.")  # type: ignore[valid-type]
    roles: list[Literal[tuple(ROLES)]] = Field(  # type: ignore[valid-type]
        default=[], max_length=len(ROLES), description="Whom it concerns; empty for every role."
    )
    evidence: list[Annotated[str, StringConstraints(pattern=r"^\d{1,18}\.\d{1,18}$")]] = Field(
        default=[], max_length=MOST_PLACES, description='Places in the record that show it, such as "12.7".'
    )


class Lessons(BaseModel):
    """All that the record teaches; none is a good answer, too."""

    lessons: list[Proposal] = Field(max_length=MOST_LESSONS)
