"""What sessions answer with; see `sandboxes.contracts`. Whatever does not fit is refused, with the reason quoted."""

import re
import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

FINDINGS, ANSWERS = "findings", "answers"
# More of them is no list that anybody reads.
MOST_ISSUES, MOST_QUESTIONS, MOST_EVIDENCE = 200, 50, 20
CLONE = re.compile(r"^(\./|/home/user/project/)+")
LINE = re.compile(r":\d+(-\d+)?$|#L\d+(-L?\d+)?$")


def in_one_line(text: str) -> str:
    """Without line ends and characters that draw nothing or turn the direction of what follows."""
    kept = (" " if unicodedata.category(char) == "Cc" else char for char in text)
    return " ".join("".join(char for char in kept if unicodedata.category(char) != "Cf").split())


def as_path(text: str) -> str:
    """Below the clone, without a line number."""
    return LINE.sub("", CLONE.sub("", in_one_line(text)))


Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=20_000)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Title = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(in_one_line), Field(min_length=1)
]
Path = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(as_path)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(in_one_line)]
Confidence = Annotated[float, Field(ge=0, le=1, description="How sure you are, 0 to 1.")]
Numbers = Annotated[
    list[Annotated[int, Field(ge=0)]],
    Field(max_length=MOST_ISSUES, description="Which of your issues it is about, counted from 0; empty: all."),
]


class Finding(BaseModel):
    """One issue."""

    title: Title = Field(description="What is wrong, in one line.")
    description: Text = Field(description="Markdown: what is wrong, where, how it shows, what should be instead.")
    priority: Literal["critical", "high", "medium", "low"]
    suggested_prompt: Text = Field("", description="What to ask an agent that shall mend it; complete by itself.")
    files: list[Path] = Field(default_factory=list, max_length=50, description="The files that it is in.")
    labels: list[Label] = Field(default_factory=list, max_length=10)


class Asked(BaseModel):
    """Something that only a person can know."""

    text: Sentence
    why: Text = Field("", description="What depends on the answer.")
    issues: Numbers = Field(default_factory=list)


class Assumed(BaseModel):
    """Something that was taken for true."""

    text: Sentence
    confidence: Confidence
    issues: Numbers = Field(default_factory=list)


class Findings(BaseModel):
    """The answer of a session that looks for issues."""

    summary: Text = Field("", description="What was looked at, in a few sentences.")
    issues: list[Finding] = Field(max_length=MOST_ISSUES)
    questions: list[Asked] = Field(default_factory=list, max_length=MOST_QUESTIONS)
    assumptions: list[Assumed] = Field(default_factory=list, max_length=MOST_QUESTIONS)


class Evidence(BaseModel):
    """Where it shows."""

    file: Path
    line: Annotated[int, Field(ge=1, le=10_000_000)]


class Given(BaseModel):
    """The answer to one question."""

    question: Annotated[int, Field(description="The number of the question.")]
    answer: Sentence
    confidence: Confidence
    evidence: list[Evidence] = Field(default_factory=list, max_length=MOST_EVIDENCE)


class Answers(BaseModel):
    """The answer of a session that answers questions; what can't be told from the repository is left out."""

    answers: list[Given] = Field(max_length=MOST_QUESTIONS)
