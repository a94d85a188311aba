"""Sessions that look for issues or answer questions, the cards they leave, and what people make of them."""

from .card import PRIORITIES, Issue, IssueRun, Note, Priority
from .chain import Chain, Link
from .question import Question
from .session import IssueSession
from .settings import IssueSettings

__all__ = [
    "PRIORITIES", "Chain", "Issue", "IssueRun", "IssueSession", "IssueSettings", "Link", "Note", "Priority", "Question",
]  # fmt: skip
