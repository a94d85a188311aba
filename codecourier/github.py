"""GitHub by PyGithub, whose only importer this is: pull requests, and what becomes of them.

No call waits or retries by itself: a limit that is used up is a GitHubError with the time at which it is worth another
try, which a worker then spends on something else (the library's own defaults sleep until the reset).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from jwt import InvalidKeyError

from .lazily import lazily

if TYPE_CHECKING:
    import github as library
    from github import Github, GithubException
    from github.Auth import Auth
    from github.PullRequest import PullRequest
    from github.Repository import Repository
else:
    # It takes longer to read than all of Django, and most processes never need it.
    library = lazily("github")

logger = logging.getLogger(__name__)

API = "https://api.github.com"
SECONDS = 20
# Until a fault that may pass is worth another try, where GitHub names no time.
SOON = timedelta(seconds=30)
# Of one thing (checks, reviews, comments) no more is read.
MOST = 100
TEXT = 4000


class GitHubError(Exception):
    """GitHub did not do it: a sentence for people, a `reason` for code, and the time of the next try if one is due."""

    def __init__(self, sentence: str, reason: str, retry_at: datetime | None = None) -> None:
        super().__init__(sentence)
        self.reason, self.retry_at = reason, retry_at


# A stored key is a token, or an app: its number and its private key, as they are pasted (line breaks may be lost).
APP = re.compile(r"\s*([\w.-]+)\s+-----BEGIN ([A-Z ]*PRIVATE KEY)-----(.+?)-----END", re.DOTALL)
# What an app's token may do at most, though the app may do more.
PERMISSIONS = {
    "contents": "write", "pull_requests": "write", "issues": "write", "checks": "read", "statuses": "read",
}  # fmt: skip
# A token lives an hour; one that is about to end is not begun with.
SPARE = timedelta(minutes=10)


@dataclass(frozen=True)
class Account:
    """As whom GitHub is spoken to, and where its API is."""

    token: str = field(repr=False)
    base_url: str = API

    @contextmanager
    def session(self, auth: Auth | None = None) -> Iterator[Github]:
        """A client, of another identity than the token's if one is given; what it raises becomes a GitHubError."""
        client = library.Github(
            auth=auth or library.Auth.Token(self.token), base_url=self.base_url.rstrip("/"), timeout=SECONDS,
            retry=None, seconds_between_requests=0, seconds_between_writes=0, per_page=MOST, lazy=True,
        )  # fmt: skip
        try:
            yield client
        except library.GithubException as error:
            raise explained(error) from error
        except OSError as error:
            raise GitHubError(
                "GitHub can't be reached just now. It is tried again.", "away", timezone.now() + SOON
            ) from error
        except InvalidKeyError as error:
            sentence = "The app's private key can't be read. Store it again as GitHub gave it."
            raise GitHubError(sentence, "bad_key") from error
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            # The library checks what it is given, not what it is answered.
            raise GitHubError(
                "GitHub answered with something that makes no sense. It is tried again.", "garbled",
                timezone.now() + SOON,
            ) from error  # fmt: skip
        finally:
            client.close()


def account(key: str, base_url: str, repository: str) -> Account:
    """As whom a project's stored key speaks: a token does itself, an app by a token for that repository alone.

    GitHubError when the app is not installed there, or its private key is wrong.
    """
    base_url = base_url or API
    app = APP.match(key)
    if not app:
        return Account(key.strip(), base_url)
    known = (app[1], hashlib.sha256(key.encode()).hexdigest(), f"{base_url} {repository}")
    with _lock:
        token, ends = _tokens.get(known, ("", timezone.now()))
        if ends - SPARE < timezone.now():
            pem = "\n".join([f"-----BEGIN {app[2]}-----", *app[3].split(), f"-----END {app[2]}-----", ""])
            token, ends = _installation_token(app[1], pem, base_url, repository)
            _tokens[known] = (token, ends)
    return Account(token, base_url)


_lock = threading.Lock()
_tokens: dict[tuple[str, str, str], tuple[str, datetime]] = {}


def _installation_token(number: str, pem: str, base_url: str, repository: str) -> tuple[str, datetime]:
    """(token, its end), of the installation that has the repository."""
    with Account("", base_url).session(library.Auth.AppAuth(number, pem)) as client:
        _, found = client.requester.requestJsonAndCheck("GET", f"/repos/{repository}/installation")
        path = f"/app/installations/{found['id']}/access_tokens"
        wanted = {"repositories": [repository.partition("/")[2]], "permissions": PERMISSIONS}
        try:
            _, made = client.requester.requestJsonAndCheck("POST", path, input=wanted)
        except library.GithubException as error:
            if error.status != 422:
                raise
            # It was granted less than that; what is missing shows when it is needed.
            del wanted["permissions"]
            _, made = client.requester.requestJsonAndCheck("POST", path, input=wanted)
        return str(made["token"]), datetime.fromisoformat(made["expires_at"])


@dataclass(frozen=True)
class Opened:
    """A pull request, and what could not be done to it in a sentence each."""

    number: int
    url: str
    draft: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How a pull request stands; None for each part that is as it was at the last reading."""

    state: str  # draft | open | merged | closed
    head: str
    base: str
    etags: Mapping[str, str]
    checks: list[dict[str, str]] | None  # name, status, conclusion, url, summary
    reviews: list[dict[str, str]] | None  # who, state, body, at
    comments: list[dict[str, str]] | None  # who, body, at, url, path, line


def slug_of(url: str, origin: str = "https://github.com") -> str | None:
    """`owner/name` of a repository at GitHub, or at the Enterprise server `origin`; None for every other address."""
    host = origin.partition("://")[2]
    for start in (f"{origin}/", f"git@{host.partition(':')[0]}:", f"ssh://git@{host}/"):
        if url.lower().startswith(start.lower()):
            path = url[len(start) :].strip("/").removesuffix(".git")
            return path if path.count("/") == 1 and all(path.split("/")) else None
    return None


def open_pull_request(
    account: Account,
    repository: str,
    *,
    head: str,
    base: str,
    title: str,
    body: str,
    draft: bool,
    labels: Sequence[str] = (),
    reviewers: Sequence[str] = (),
) -> Opened:
    """Open it, or find the one that is open for this branch; never a second one. GitHubError.

    An answer can be lost after its effect, and somebody may be faster: it is looked for before and after.
    """
    with account.session() as client:
        place = client.get_repo(repository)
        warnings: list[str] = []
        pull = _existing(place, repository, head)
        if pull is None:
            try:
                pull = _create(place, head, base, title, body, draft, warnings)
            except (library.GithubException, OSError):
                pull = _existing(place, repository, head)
                if pull is None:
                    raise
        _adorn(pull, labels, reviewers, warnings)
        return Opened(pull.number, pull.html_url, pull.draft, tuple(warnings))


def _existing(place: Repository, repository: str, head: str) -> PullRequest | None:
    owner = repository.partition("/")[0]
    # Without the owner, or with a branch that GitHub doesn't know, the filter is ignored and all are listed.
    found = place.get_pulls(state="open", head=f"{owner}:{head}")
    return next((pull for pull in found if pull.head.ref == head), None)


def _create(
    place: Repository, head: str, base: str, title: str, body: str, draft: bool, warnings: list[str]
) -> PullRequest:
    try:
        return place.create_pull(base, head, title=title, body=body, draft=draft)
    except library.GithubException as error:
        if not (draft and error.status == 422 and "draft" in said(error).lower()):
            raise
    warnings.append("This repository has no draft pull requests; it was opened as ready.")
    return place.create_pull(base, head, title=title, body=body, draft=False)


def _adorn(pull: PullRequest, labels: Sequence[str], reviewers: Sequence[str], warnings: list[str]) -> None:
    """Labels and reviewers: setting them twice changes nothing, and a pull request is one without them too."""
    calls: dict[str, tuple[Sequence[str], Callable[[], object]]] = {
        "The labels could not be set": (labels, lambda: pull.add_to_labels(*labels)),
        "The reviewers could not be asked": (
            reviewers,
            lambda: pull.create_review_request(reviewers=list(reviewers)),
        ),
    }
    for what, (names, call) in calls.items():
        try:
            if names:
                call()
        except library.GithubException as error:
            if error.status not in {403, 404, 422} or is_limit(error):
                raise
            warnings.append(f"{what} ({', '.join(names)}): {said(error)}.")


def read(account: Account, repository: str, number: int, etags: Mapping[str, str]) -> Reading:
    """How it stands. What GitHub says is unchanged since the reading that gave these ETags costs none of its limit."""
    with account.session() as client:
        asked = Asked(client, etags)
        pull = asked.get("pull", f"/repos/{repository}/pulls/{number}", always=True)
        state = "merged" if pull["merged"] else "closed" if pull["state"] == "closed" else ""
        head = str(pull["head"]["sha"])
        commit, there = f"/repos/{repository}/commits/{head}", f"/repos/{repository}/pulls/{number}"
        runs, statuses = asked.get("runs", f"{commit}/check-runs"), asked.get("status", f"{commit}/status")
        if (runs is None) != (statuses is None):
            runs = asked.get("runs", f"{commit}/check-runs", always=True)
            statuses = asked.get("status", f"{commit}/status", always=True)
        reviews = asked.get("reviews", f"{there}/reviews")
        lines, talk = asked.get("lines", f"{there}/comments"), asked.get(
            "talk", f"/repos/{repository}/issues/{number}/comments"
        )  # fmt: skip
        if (lines is None) != (talk is None):
            lines = asked.get("lines", f"{there}/comments", always=True)
            talk = asked.get("talk", f"/repos/{repository}/issues/{number}/comments", always=True)
        return Reading(
            state=state or ("draft" if pull["draft"] else "open"), head=head, base=str(pull["base"]["ref"]),
            etags=asked.seen,
            checks=None if runs is None else _checks(runs, statuses),
            reviews=None if reviews is None else [_review(one) for one in reviews if one["state"] != "PENDING"],
            comments=None if lines is None else sorted(map(_comment, [*lines, *talk]), key=lambda one: one["at"]),
        )  # fmt: skip


class Asked:
    """Questions with the ETag of the last answer, and the ETags of these."""

    def __init__(self, client: Github, etags: Mapping[str, str]) -> None:
        self.client, self.etags = client, etags
        self.seen: dict[str, str] = {}

    def get(self, name: str, path: str, *, always: bool = False) -> Any:
        """The answer; None when it is the same as last time (of the same path)."""
        known, _, address = self.etags.get(name, "").rpartition(" ")
        parameters = {} if name == "pull" else {"per_page": MOST}
        headers = {"If-None-Match": known} if known and address == path and not always else {}
        answered, data = self.client.requester.requestJsonAndCheck("GET", path, parameters, headers=headers)
        # A page that is not the last says nothing of those behind it.
        if "etag" in answered and 'rel="next"' not in answered.get("link", ""):
            self.seen[name] = f"{answered['etag']} {path}"
        elif data is None:
            self.seen[name] = self.etags[name]
        return data


def _checks(runs: Any, statuses: Any) -> list[dict[str, str]]:
    """Check runs and the older commit statuses in one list, in the words of the first."""
    found = [
        {
            "name": run["name"], "status": run["status"], "conclusion": run["conclusion"] or "",
            "url": _link(run["details_url"] or run["html_url"]), "summary": _output(run.get("output") or {}),
        }
        for run in runs["check_runs"]
    ]  # fmt: skip
    for status in statuses["statuses"]:
        pending = status["state"] == "pending"
        found.append({
            "name": status["context"], "status": "in_progress" if pending else "completed",
            "conclusion": "" if pending else status["state"], "url": _link(status["target_url"]),
            "summary": (status["description"] or "")[:TEXT],
        })  # fmt: skip
    return sorted(found, key=lambda check: check["name"])


def _link(url: str | None) -> str:
    """An address that may be linked to: whoever reports a check chooses it."""
    return url if url and url.startswith(("https://", "http://")) else ""


def _output(output: Mapping[str, Any]) -> str:
    return "\n".join(str(output[name]) for name in ("title", "summary", "text") if output.get(name))[:TEXT]


def _review(review: Mapping[str, Any]) -> dict[str, str]:
    return {
        "who": _who(review), "state": review["state"].lower(),
        "said": review["state"].replace("_", " ").lower(), "body": (review["body"] or "")[:TEXT],
        "at": review.get("submitted_at") or "",
    }  # fmt: skip


def _comment(comment: Mapping[str, Any]) -> dict[str, str]:
    return {
        "who": _who(comment), "body": (comment["body"] or "")[:TEXT], "at": comment["created_at"],
        "url": _link(comment["html_url"]), "path": comment.get("path") or "",
        "line": str(comment.get("line") or comment.get("original_line") or ""),
    }  # fmt: skip


def _who(said_by: Mapping[str, Any]) -> str:
    return (said_by.get("user") or {}).get("login") or "somebody"


def mark_ready(account: Account, repository: str, number: int) -> None:
    """Not a draft any more; the reviewers are asked now. By GraphQL: REST can't."""
    with account.session() as client:
        pull = client.get_repo(repository).get_pull(number)
        if pull.draft:
            pull.mark_ready_for_review()


def convert_to_draft(account: Account, repository: str, number: int) -> None:
    """A draft again."""
    with account.session() as client:
        pull = client.get_repo(repository).get_pull(number)
        if not pull.draft:
            pull.convert_to_draft()


def edit(account: Account, repository: str, number: int, *, state: str = "", body: str | None = None) -> None:
    """Set its state (open, closed) or its text."""
    with account.session() as client:
        client.get_repo(repository).get_pull(number).edit(
            state=state or library.GithubObject.NotSet, body=library.GithubObject.NotSet if body is None else body
        )


def signed(secret: str, body: bytes, signature: str) -> bool:
    """GitHub signed this body with the secret (`X-Hub-Signature-256`); compared in constant time."""
    ours = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return bool(secret) and hmac.compare_digest(f"sha256={ours}".encode(), signature.encode(errors="replace"))


def is_limit(error: GithubException) -> bool:
    """Of the primary or a secondary rate limit (https://docs.github.com/rest/using-the-rest-api/rate-limits)."""
    headers = error.headers or {}
    return error.status in {403, 429} and (
        "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or "rate limit" in said(error).lower()
    )


def said(error: GithubException) -> str:
    """GitHub's own words: its message and what it says of each field."""
    data = error.data if isinstance(error.data, dict) else {}
    details = [
        str(one.get("message") or " ".join(str(one[key]) for key in ("field", "code") if key in one))
        if isinstance(one, dict) else str(one)
        for one in data.get("errors") or [] if one
    ]  # fmt: skip
    return "; ".join([*details] or [str(data.get("message") or "it did not say why")])[:300].rstrip(".")


def explained(error: GithubException) -> GitHubError:
    """A sentence for what GitHub refused, and whether it is worth another try."""
    words, status = said(error), error.status
    if is_limit(error):
        at = _limit_ends(error.headers or {})
        return GitHubError(f"GitHub's rate limit is used up; it is tried again at {at:%H:%M} UTC.", "rate_limit", at)
    if status >= 500:
        return GitHubError(f"GitHub has a fault ({status}). It is tried again.", "away", timezone.now() + SOON)
    if status == 401:
        return GitHubError("GitHub refused the project's key: it is wrong, expired or revoked.", "bad_key")
    if status == 403:
        return GitHubError(f"The project's key may not do that at GitHub: {words}.", "forbidden")
    if status == 404:
        return GitHubError("GitHub knows no such repository or pull request, or the key may not see it.", "missing")
    if "no commits between" in words.lower():
        return GitHubError("There is nothing new on the branch that a pull request could bring.", "no_commits")
    return GitHubError(f"GitHub refused it: {words}.", "refused")


def _limit_ends(headers: Mapping[str, Any]) -> datetime:
    """By the header that GitHub sent, a minute without one, and never more than an hour away."""
    now = timezone.now()
    try:
        if after := headers.get("retry-after"):
            at = now + timedelta(seconds=int(after))
        else:
            at = datetime.fromtimestamp(int(headers["x-ratelimit-reset"]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        at = now + timedelta(minutes=1)
    return min(max(at, now + timedelta(seconds=1)), now + timedelta(hours=1))
