"""What people can do with a sandbox's work as it stands."""

from dataclasses import dataclass

from sandboxes.models import PullRequest

P = PullRequest.Status


@dataclass(frozen=True)
class Button:
    """A verb, its words, and what is asked before it is done."""

    verb: str
    word: str
    look: str = ""
    ask: str = ""


PUSH = Button("push", "Push branch")
OPEN = Button("open", "Open pull request", "btn-primary")
READY = Button("ready", "Mark ready for review", "btn-primary")
DRAFT = Button("draft", "Convert to draft")
UPDATE = Button("update", "Update branch")
CLOSE = Button(
    "close", "Close", "btn-ghost-danger", "Close the pull request at GitHub? The branch stays, and it can be reopened."
)
REOPEN = Button("reopen", "Open again", "btn-primary")
RETRY = Button("retry", "Try again", "btn-primary")
ALLOW = Button(
    "allow", "Allow and push", "btn-outline-danger",
    "Push it with what looks like secrets? Whoever can read the repository can read them then.",
)  # fmt: skip
RESOLVE = Button("resolve", "Have an agent merge it", "btn-primary")
CHECKS = Button("checks", "Send failed checks to the agent")
COMMENTS = Button("comments", "Send review to the agent")


def buttons(pull: PullRequest | None, can_push: bool) -> list[Button]:
    """In the order in which they are shown, the usual one first."""
    if pull is None:
        return [OPEN, PUSH] if can_push else []
    said = [CHECKS] * bool(pull.failed_checks) + [COMMENTS] * bool(pull.comments or pull.reviews)
    said += [RESOLVE] * bool(pull.conflict)
    by_status: dict[str, list[Button]] = {
        P.PUSHED: [OPEN, UPDATE, *said],
        P.BLOCKED: [RETRY, ALLOW],
        P.FAILED: [RETRY],
        P.DRAFT: [READY, UPDATE, *said, CLOSE],
        P.OPEN: [UPDATE, *said, DRAFT, CLOSE],
        P.CLOSED: [REOPEN],
    }
    return by_status.get(pull.status, [])
