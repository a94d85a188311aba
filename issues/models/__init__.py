"""Sessions that look for issues or answer questions, the cards they leave, and what people make of them."""

from .card import PRIORITIES, Issue, Note
from .question import Question
from .session import IssueSession
from .settings import IssueSettings

__all__ = ["PRIORITIES", "Issue", "IssueSession", "IssueSettings", "Note", "Question"]
