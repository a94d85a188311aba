"""What a model provider's refusal means for a turn, the same for every agent."""

from ..reasons import Reason
from .base import Verdict

REFUSALS = {
    401: (Reason.KEY_REFUSED, "The model provider refused the key"),
    403: (Reason.KEY_REFUSED, "The model provider refused the key"),
    404: (Reason.UNKNOWN_MODEL, "The model provider does not know this model"),
    429: (Reason.OVERLOADED, "The model provider's rate limit was reached and stayed so"),
    503: (Reason.OVERLOADED, "The model provider was overloaded and did not recover"),
    529: (Reason.OVERLOADED, "The model provider was overloaded and did not recover"),
}
LONGEST = 500  # characters of what somebody else said


def refusal(status: int | None, text: str) -> Verdict:
    """A failed turn, by the HTTP status that the provider gave (None: it gave none) and what the agent says of it."""
    reason, sentence = REFUSALS.get(status or 0, (Reason.MODEL_ERROR, "The model provider did not answer as it should"))
    said = " ".join(text.split())[:LONGEST]
    number = f" ({status})" if status else ""
    return Verdict("failed", reason, f"{sentence}{number}: {said}" if said else f"{sentence}{number}.")
