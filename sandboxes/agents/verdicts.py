"""What a model provider's refusal means for a turn, the same for every agent."""

import json
import re

from ..reasons import Reason
from .base import Exit, Found, Verdict

REFUSALS = {
    401: (Reason.KEY_REFUSED, "The model provider refused the key"),
    403: (Reason.KEY_REFUSED, "The model provider refused the key"),
    404: (Reason.UNKNOWN_MODEL, "The model provider does not know this model"),
    429: (Reason.OVERLOADED, "The model provider's rate limit was reached and stayed so"),
    503: (Reason.OVERLOADED, "The model provider was overloaded and did not recover"),
    529: (Reason.OVERLOADED, "The model provider was overloaded and did not recover"),
}
LONGEST = 500  # characters of what somebody else said
# How a status stands in what the CLIs say: "unexpected status 401", "last status: 429", "529: Overloaded".
STATUS = re.compile(r"\bstatus(?: code)?:? (\d{3})\b|^(\d{3})\b")
NO_MODEL = re.compile(r"model\b.{0,200}\b(does not exist|not found|not supported|not available)|unknown model", re.I)
OVERLOAD = re.compile(r"overloaded|high demand|rate limit", re.IGNORECASE)


def refusal(status: int | None, text: str) -> Verdict:
    """A failed turn, by the HTTP status that the provider gave (None: it gave none) and what the agent says of it."""
    unknown = (Reason.MODEL_ERROR, "The model provider did not answer as it should")
    reason, sentence = REFUSALS.get(status or _meant(text), unknown)
    said = " ".join(text.split())[:LONGEST]
    number = f" ({status})" if status else ""
    return Verdict("failed", reason, f"{sentence}{number}: {said}" if said else f"{sentence}{number}.")


def status_in(text: str) -> int | None:
    """The HTTP status in a CLI's own words, None where it tells none."""
    found = STATUS.search(text)
    return int(found[1] or found[2]) if found else None


def plain(text: str) -> str:
    """What an API's error says, without the JSON that it is wrapped in."""
    head, brace, tail = text.partition("{")
    try:
        value = json.loads(brace + tail)
    except (ValueError, RecursionError):
        return text
    error = value.get("error", value)
    message = error.get("message") if isinstance(error, dict) else None
    return f"{head}{message}" if isinstance(message, str) else text


def _meant(text: str) -> int:
    """The status that words without a number stand for, 0 for none."""
    if NO_MODEL.search(text):
        return 404
    return 529 if OVERLOAD.search(text) else 0


def no_key(agent: str, keys: str) -> Verdict:
    """There is none that it could use."""
    return Verdict("failed", Reason.MISSING_KEY, f"{agent} has no key. Set {keys} key for the project.")


def unfinished(agent: str, ended: Exit, found: Found) -> Verdict:
    """It ended without its closing event: it did not get as far as a conversation, or somebody ended it."""
    said = [line for line in found.stderr.strip().splitlines() if line.strip()]
    if said and ended.signal is None and ended.code == 1:
        # A stack trace may follow.
        telling = next((line for line in reversed(said) if "error" in line.lower()), said[-1])
        text = " ".join(telling.split())[:LONGEST]
        return Verdict("failed", Reason.UNFINISHED, f"{agent} did not start working: {text}")
    how = f"signal {ended.signal}" if ended.signal else f"exit status {ended.code}"
    return Verdict("failed", Reason.UNFINISHED, f"{agent} was ended before it was done ({how}).")
