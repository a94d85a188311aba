"""What is told on a preview's origin instead of a server's answer."""

from collections.abc import Awaitable, Callable
from typing import Any

from django.template.loader import render_to_string

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
REFUSED = 4403


class Problem(Exception):
    """A status, a heading, and as `str()` what to do."""

    def __init__(self, status: int, heading: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.heading = status, heading


def closed() -> Problem:
    """No pass, or one that has run out."""
    sentence = "It is for members of the project only. Open it from the page of its sandbox, where you sign in."
    return Problem(403, "Open this preview from CodeCourier", sentence)


def used_up() -> Problem:
    """A ticket that was used before or is too old."""
    sentence = "It opens once, within a minute. Open the preview again from the page of its sandbox."
    return Problem(403, "This way in is used up", sentence)


def elsewhere() -> Problem:
    """Sent by a page of another origin."""
    sentence = "Previews answer only their own pages and those of the same sandbox."
    return Problem(403, "Another page asked for this", sentence)


def asleep() -> Problem:
    """Only a person who opens a page wakes a sandbox."""
    return Problem(503, "The sandbox sleeps", "Reload the page to wake it.")


def waking() -> Problem:
    """It was asked to run and doesn't yet."""
    return Problem(503, "Still waking", "The sandbox takes longer than usual. Reload in a moment.")


def over() -> Problem:
    """Killed, or asked to be."""
    return Problem(410, "The machine is gone", "This sandbox is over, and its servers with it.")


def silent(port: int) -> Problem:
    """Nobody listens."""
    sentence = "Start the server in the sandbox, bound to 0.0.0.0 or 127.0.0.1, then reload."
    return Problem(502, f"Nothing listens on port {port}", sentence)


def garbled(port: int) -> Problem:
    """Somebody listens and speaks no HTTP, or stops in the middle."""
    sentence = "The server in the sandbox broke the connection off, or spoke no HTTP. Reload to try again."
    return Problem(502, f"Port {port} doesn't answer properly", sentence)


async def tell(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """A page that says what is the matter; a socket is refused."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": REFUSED})
        return
    page = {"status": problem.status, "heading": problem.heading, "sentence": str(problem)}
    body = render_to_string("sandboxes/preview_problem.html", page).encode()
    said = {
        "content-type": "text/html; charset=utf-8",
        "content-length": str(len(body)),
        "content-security-policy": POLICY,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    encoded = [(name.encode(), value.encode()) for name, value in said.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
