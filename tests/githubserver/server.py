"""The server: what people do at GitHub is done to its `GitHub` object, what the product does comes over HTTP."""

import base64
import gzip
import hashlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import jwt

from tests.githubserver.contract import Contract
from tests.sandboxes.repositories import git
from tests.serving import Quiet, serving

TOKEN = "ghp_canary0123456789abcdefghijklmnopqrstuv"
READ_ONLY = "ghp_readonly0123456789abcdefghijklmnopqrst"
API = "/api/v3"
REPOSITORY = r"/repos/(?P<owner>[^/]+)/(?P<name>[^/]+)"


@dataclass
class Fault:
    """What befalls requests: `before` or `after` their effect, so often."""

    method: str
    path: str
    status: int  # 0: the connection is cut
    after: bool = False
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=lambda: {"message": "Server Error"})


@dataclass
class Pull:
    """A pull request as it is kept; its commits are asked of git."""

    number: int
    repository: str
    head: str
    base: str
    title: str
    body: str
    draft: bool
    state: str = "open"
    merged: bool = False
    labels: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    talk: list[dict[str, Any]] = field(default_factory=list)


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.answer: dict[str, Any] = {"message": message, "documentation_url": "https://docs.github.com/rest"}
        if errors:
            self.answer["errors"] = list(errors)


class GitHub:
    """All that the server knows. `requests` are (method, path) of the API in the order of their coming."""

    def __init__(self, folder: Path, contract: Contract) -> None:
        self.folder, self.contract = folder, contract
        self.url = ""
        self.lock = threading.RLock()
        self.tokens = {TOKEN: "write", READ_ONLY: "read"}
        self.pulls: list[Pull] = []
        self.runs: dict[str, list[dict[str, Any]]] = {}
        self.statuses: dict[str, list[dict[str, Any]]] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.broken: list[str] = []  # where product or server left the contract
        self.collaborators = {"ann", "bob"}
        self.apps: dict[str, str] = {}  # public keys by number
        self.granted: set[str] | None = None  # what an app may ask for, everything by default
        self.drafts = True
        self.rate = 0.0  # bytes in a second of what git fetches, as fast as it goes by default

    @property
    def api(self) -> str:
        """What is entered as the API's address."""
        return f"{self.url}{API}"

    def repository(self, slug: str, seed: Path) -> str:
        """A repository with the branches of `seed`; its address."""
        place = self.folder / f"{slug}.git"
        place.parent.mkdir(parents=True, exist_ok=True)
        git(self.folder, "clone", "-q", "--bare", str(seed), str(place))
        git(place, "config", "http.receivepack", "true")
        return f"{self.url}/{slug}.git"

    def at(self, slug: str) -> Path:
        """Where a repository is."""
        return self.folder / f"{slug}.git"

    def head(self, slug: str, branch: str) -> str:
        """The commit of a branch; empty without one."""
        return git(self.at(slug), "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def fail(self, method: str, path: str, status: int, **how: Any) -> None:
        """The next requests like this end so."""
        self.faults.append(Fault(method, path, status, **how))

    def count(self, method: str, path: str) -> int:
        """How often it was asked."""
        return sum(one == method and re.search(path, where) is not None for one, where in self.requests)

    def check(self, pull: Pull, name: str, conclusion: str | None, summary: str = "") -> None:
        """A check of its last commit."""
        run = self.contract.example("check-run-paginated")["check_runs"][0]
        status = "completed" if conclusion else "in_progress"
        run |= {"name": name, "status": status, "conclusion": conclusion, "details_url": f"{self.url}/checks/{name}"}
        run["output"] |= {"title": name, "summary": summary, "text": None}
        runs = self.runs.setdefault(self.head(pull.repository, pull.head), [])
        runs[:] = [one for one in runs if one["name"] != name] + [run]

    def review(self, pull: Pull, who: str, state: str, body: str = "") -> None:
        """What a person says of the whole."""
        review = self.contract.example("pull-request-review-items")[0]
        pull.reviews.append(review | {"user": review["user"] | {"login": who}, "state": state, "body": body})

    def say(self, pull: Pull, who: str, body: str, path: str = "", line: int = 0) -> None:
        """What a person says of a line, or to everybody."""
        name = "pull-request-review-comment-items" if path else "issue-comment-items"
        comment = self.contract.example(name)[0]
        comment |= {"user": comment["user"] | {"login": who}, "body": body}
        if path:
            pull.lines.append(comment | {"path": path, "line": line, "original_line": line})
        else:
            pull.talk.append(comment)


class Handler(Quiet):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        """Say so where the connection ends with the answer (RFC 9112, 9.6)."""
        if self.close_connection:
            self.send_header("Connection", "close")
        super().end_headers()

    @property
    def hub(self) -> GitHub:
        return cast(GitHub, cast(Any, self.server).hub)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PATCH(self) -> None:
        self.answer()

    def answer(self) -> None:
        """To the API or to git."""
        body = self.body()
        path = urlsplit(self.path).path
        if path.startswith("/api/"):
            self.api(path, body)
        else:
            self.git(path, body)

    def body(self) -> bytes:
        """All that was sent."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def api(self, path: str, body: bytes) -> None:
        """One request: its fault if there is one, its effect, and the contract's word on both."""
        hub, where = self.hub, path.removeprefix(API)
        with hub.lock:
            hub.requests.append((self.command, where))
            fault = next(
                (one for one in hub.faults if one.times and one.method == self.command and re.search(one.path, where)),
                None,
            )
            if fault:
                fault.times -= 1
            if fault and not fault.after:
                self.fall(fault)
                return
            sent = json.loads(body) if body else None
            try:
                status, answer = self.effect(where, sent)
            except Refusal as refusal:
                status, answer = refusal.status, refusal.answer
            if not path.endswith("/graphql"):
                address = where + (f"?{query}" if (query := urlsplit(self.path).query) else "")
                try:
                    # The text of the description allows a bare list of labels too, which its schema has no word for.
                    said = {"labels": sent} if isinstance(sent, list) else sent
                    hub.contract.check(self.command, address, said, status, answer)
                except AssertionError as error:
                    hub.broken.append(str(error))
            if fault:
                self.fall(fault)
                return
            self.tell(status, answer)

    def fall(self, fault: Fault) -> None:
        """End as the fault says."""
        if not fault.status:
            self.close_connection = True
            self.connection.close()
            return
        self.tell(fault.status, fault.answer, **fault.headers)

    def tell(self, status: int, answer: Any, **headers: str) -> None:
        """With an ETag, as GitHub does."""
        body = json.dumps(answer).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()}"'
        if status == HTTPStatus.OK and self.headers.get("If-None-Match") == etag:
            status, body = HTTPStatus.NOT_MODIFIED, b""
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body)), "ETag": etag,
            "x-ratelimit-remaining": "4999", "x-ratelimit-limit": "5000", "x-ratelimit-reset": "2000000000", **headers,
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def effect(self, where: str, sent: Any) -> tuple[int, Any]:
        """What GitHub would do."""
        word = self.headers.get("Authorization", "").partition(" ")[2]
        rights = "app" if self.app(word) and re.search("/installation$|^/app/", where) else self.hub.tokens.get(word)
        if not rights:
            raise Refusal(401, "Bad credentials")
        if self.command != "GET" and rights == "read":
            raise Refusal(403, "Resource not accessible by personal access token")
        if where == "/api/graphql":
            return 200, self.graphql(sent)
        for (method, pattern), action in ROUTES.items():
            found = re.fullmatch(pattern, where)
            if method == self.command and found and "owner" not in found.groupdict():
                return action(self, "", sent)
            if method == self.command and found:
                slug = f"{found['owner']}/{found['name']}"
                if not self.hub.at(slug).exists():
                    raise Refusal(404, "Not Found")
                rest = {key: value for key, value in found.groupdict().items() if key not in {"owner", "name"}}
                return action(self, slug, sent, **rest)
        raise Refusal(404, "Not Found")

    def app(self, word: str) -> bool:
        """Signed by one of the apps, and valid for ten minutes at most (GitHub's own limit)."""
        try:
            number = str(jwt.decode(word, options={"verify_signature": False})["iss"])
            claims = jwt.decode(word, self.hub.apps[number], algorithms=["RS256"])
            return bool(claims["exp"] - time.time() <= 600)
        except (jwt.InvalidTokenError, KeyError):
            return False

    def installation(self, slug: str, _: Any) -> tuple[int, Any]:
        return 200, self.hub.contract.example("installation") | {"id": 5}

    def token(self, _: str, sent: Any) -> tuple[int, Any]:
        """For some repositories, with no more than was granted."""
        asked = set(sent.get("permissions", {}))
        if self.hub.granted is not None and not asked <= self.hub.granted:
            raise Refusal(422, "The permissions requested are not granted to this installation.")
        word = f"ghs_{len(self.hub.tokens):036}"
        self.hub.tokens[word] = "write"
        made = self.hub.contract.example("installation-token")
        ends = datetime.now(UTC) + timedelta(hours=1)
        made |= {"token": word, "expires_at": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}
        return 201, made

    def pull(self, slug: str, number: str) -> Pull:
        """By its number."""
        found = next((one for one in self.hub.pulls if (one.repository, one.number) == (slug, int(number))), None)
        if not found:
            raise Refusal(404, "Not Found")
        return found

    def shown(self, pull: Pull, *, brief: bool = False) -> dict[str, Any]:
        """As GitHub shows it."""
        hub, where = self.hub, f"{self.hub.api}/repos/{pull.repository}"
        shown: dict[str, Any]
        shown = hub.contract.example("pull-request-simple-items")[0] if brief else hub.contract.example("pull-request")
        label = shown["labels"][0]
        shown |= {
            "number": pull.number, "node_id": f"PR_{pull.repository}_{pull.number}", "state": pull.state,
            "title": pull.title, "body": pull.body, "draft": pull.draft, "url": f"{where}/pulls/{pull.number}",
            "issue_url": f"{where}/issues/{pull.number}", "html_url": f"{hub.url}/{pull.repository}/pull/{pull.number}",
            "labels": [label | {"name": name} for name in pull.labels],
            "requested_teams": [],  # the published example is older than the description
        }  # fmt: skip
        for side, branch in (("head", pull.head), ("base", pull.base)):
            sha = hub.head(pull.repository, branch) or "0" * 40
            shown[side] |= {"ref": branch, "sha": sha, "label": f"{pull.repository.partition('/')[0]}:{branch}"}
        if not brief:
            shown |= {"merged": pull.merged}
        return shown

    def pulls(self, slug: str, _: Any) -> tuple[int, Any]:
        """The list, by head and state; a head without its owner filters nothing."""
        query = parse_qs(urlsplit(self.path).query)
        state, head = query.get("state", ["open"])[0], query.get("head", [""])[0]
        owner, colon, branch = head.partition(":")
        found = [
            pull for pull in self.hub.pulls
            if pull.repository == slug and state in {"all", pull.state}
            and (not colon or (owner == slug.partition("/")[0] and branch == pull.head))
        ]  # fmt: skip
        return 200, [self.shown(pull, brief=True) for pull in found]

    def create(self, slug: str, sent: Any) -> tuple[int, Any]:
        """A pull request, unless there is one, or nothing to bring."""
        hub, head, base = self.hub, sent["head"].rpartition(":")[2], sent["base"]
        for name, branch in (("head", head), ("base", base)):
            if not hub.head(slug, branch):
                raise Refusal(422, "Validation Failed", {"resource": "PullRequest", "field": name, "code": "invalid"})
        if any((p.repository, p.head, p.base, p.state) == (slug, head, base, "open") for p in hub.pulls):
            text = f"A pull request already exists for {slug.partition('/')[0]}:{head}."
            raise Refusal(422, "Validation Failed", {"resource": "PullRequest", "code": "custom", "message": text})
        if git(hub.at(slug), "rev-list", "--count", f"{base}..{head}") == "0":
            text = f"No commits between {base} and {head}"
            raise Refusal(422, "Validation Failed", {"resource": "PullRequest", "code": "custom", "message": text})
        if sent.get("draft") and not hub.drafts:
            raise Refusal(422, "Draft pull requests are not supported in this repository.")
        number = 1 + sum(pull.repository == slug for pull in hub.pulls)
        pull = Pull(number, slug, head, base, sent["title"], sent.get("body") or "", bool(sent.get("draft")))
        hub.pulls.append(pull)
        return 201, self.shown(pull)

    def one(self, slug: str, _: Any, number: str) -> tuple[int, Any]:
        return 200, self.shown(self.pull(slug, number))

    def edit(self, slug: str, sent: Any, number: str) -> tuple[int, Any]:
        """State, title and body; a merged one stays so."""
        pull = self.pull(slug, number)
        if sent.get("state") == "open" and pull.merged:
            raise Refusal(422, "Validation Failed", {"resource": "PullRequest", "field": "state", "code": "invalid"})
        for name in ("state", "title", "body"):
            setattr(pull, name, sent.get(name, getattr(pull, name)))
        return 200, self.shown(pull)

    def label(self, slug: str, sent: Any, number: str) -> tuple[int, Any]:
        """More labels."""
        pull = self.pull(slug, number)
        names = sent["labels"] if isinstance(sent, dict) else sent
        pull.labels += [name for name in names if name not in pull.labels]
        label = self.hub.contract.example("label-items")[0]
        return 200, [label | {"name": name} for name in pull.labels]

    def request_reviews(self, slug: str, sent: Any, number: str) -> tuple[int, Any]:
        """Only of people who are here."""
        if not set(sent["reviewers"]) <= self.hub.collaborators:
            raise Refusal(422, "Reviews may only be requested from collaborators.")
        pull = self.pull(slug, number)
        pull.reviewers = sorted({*pull.reviewers, *sent["reviewers"]})
        return 201, self.shown(pull, brief=True)

    def check_runs(self, slug: str, _: Any, sha: str) -> tuple[int, Any]:
        runs = self.hub.runs.get(sha, [])
        return 200, {"total_count": len(runs), "check_runs": runs}

    def status(self, slug: str, _: Any, sha: str) -> tuple[int, Any]:
        """The older kind of check."""
        found = self.hub.contract.example("combined-commit-status")
        statuses = self.hub.statuses.get(sha, [])
        return 200, found | {"sha": sha, "statuses": statuses, "total_count": len(statuses)}

    def reviews(self, slug: str, _: Any, number: str) -> tuple[int, Any]:
        return 200, self.pull(slug, number).reviews

    def lines(self, slug: str, _: Any, number: str) -> tuple[int, Any]:
        return 200, self.pull(slug, number).lines

    def talk(self, slug: str, _: Any, number: str) -> tuple[int, Any]:
        return 200, self.pull(slug, number).talk

    def graphql(self, sent: Any) -> dict[str, Any]:
        """The two mutations that REST lacks."""
        which = re.search(r"(markPullRequestReadyForReview|convertPullRequestToDraft)\(", sent["query"])
        node = sent["variables"]["input"]["pullRequestId"]
        pull = next((p for p in self.hub.pulls if f"PR_{p.repository}_{p.number}" == node), None)
        if not which or not pull:
            return {"data": None, "errors": [{"type": "NOT_FOUND", "message": "Could not resolve to a node"}]}
        pull.draft = which[1] == "convertPullRequestToDraft"
        return {"data": {which[1]: {"clientMutationId": None, "pullRequest": {"isDraft": pull.draft}}}}

    def git(self, path: str, body: bytes) -> None:
        """By git's own CGI program; every repository is private."""
        hub = self.hub
        word = base64.b64decode(self.headers.get("Authorization", "").partition(" ")[2] or b"").decode()
        user, _, token = word.partition(":")
        rights = hub.tokens.get(token) if user == "x-access-token" else None
        query = urlsplit(self.path).query
        if not rights:
            self.refuse(401, "Bad credentials", **{"WWW-Authenticate": 'Basic realm="GitHub"'})
            return
        if "git-receive-pack" in path + query and rights != "write":
            self.refuse(403, "Write access to repository not granted.")
            return
        if (
            not re.match(r"/[\w.-]+/[\w.-]+\.git/", path)
            or not (hub.folder / path.split(".git/")[0][1:]).with_suffix(".git").exists()
        ):
            self.refuse(404, "Repository not found.")
            return
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        env = os.environ | {
            "GIT_PROJECT_ROOT": str(hub.folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": unquote(path),
            "REQUEST_METHOD": self.command, "QUERY_STRING": query, "REMOTE_USER": user,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_ADDR": "127.0.0.1",
        }  # fmt: skip
        with tempfile.TemporaryFile() as source:
            source.write(body)
            source.seek(0)
            with subprocess.Popen(["git", "http-backend"], env=env, stdin=source, stdout=subprocess.PIPE) as backend:
                self.stream(cast(IO[bytes], backend.stdout))
        assert backend.returncode == 0

    def stream(self, printed: IO[bytes]) -> None:
        """A CGI program's answer as it comes: a repository can be larger than the memory."""
        lines = iter(lambda: printed.readline().decode().rstrip("\r\n"), "")
        headers = dict(line.split(": ", 1) for line in lines)
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        while piece := printed.read(1 << 16):
            if self.hub.rate:
                time.sleep(len(piece) / self.hub.rate)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def refuse(self, status: int, text: str, **headers: str) -> None:
        """In plain words, as git shows them."""
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "text/plain", "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())


ROUTES: dict[tuple[str, str], Callable[..., tuple[int, Any]]] = {
    ("GET", f"{REPOSITORY}/installation"): Handler.installation,
    ("POST", "/app/installations/5/access_tokens"): Handler.token,
    ("GET", f"{REPOSITORY}/pulls"): Handler.pulls,
    ("POST", f"{REPOSITORY}/pulls"): Handler.create,
    ("GET", rf"{REPOSITORY}/pulls/(?P<number>\d+)"): Handler.one,
    ("PATCH", rf"{REPOSITORY}/pulls/(?P<number>\d+)"): Handler.edit,
    ("POST", rf"{REPOSITORY}/issues/(?P<number>\d+)/labels"): Handler.label,
    ("POST", rf"{REPOSITORY}/pulls/(?P<number>\d+)/requested_reviewers"): Handler.request_reviews,
    ("GET", rf"{REPOSITORY}/commits/(?P<sha>\w+)/check-runs"): Handler.check_runs,
    ("GET", rf"{REPOSITORY}/commits/(?P<sha>\w+)/status"): Handler.status,
    ("GET", rf"{REPOSITORY}/pulls/(?P<number>\d+)/reviews"): Handler.reviews,
    ("GET", rf"{REPOSITORY}/pulls/(?P<number>\d+)/comments"): Handler.lines,
    ("GET", rf"{REPOSITORY}/issues/(?P<number>\d+)/comments"): Handler.talk,
}


@contextmanager
def github(folder: Path, contract: Contract, address: str = "127.0.0.1") -> Iterator[GitHub]:
    """A server with nothing on it; leaving checks that everybody kept to the contract."""
    hub = GitHub(folder, contract)
    with serving(Handler, address, hub=hub) as url:
        hub.url = url
        yield hub
    assert not hub.broken, "\n".join(hub.broken)
