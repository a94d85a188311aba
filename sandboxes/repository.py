"""How a repository gets into a machine: from the portal's copy of its remote, else by `git clone` there.

remote ──fetch──> the portal's copy ──packs as they are──> the machine ──git clone of that folder──> working folder
"""

import logging
import re
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from codecourier import git, remotes, repositories
from codecourier.github import GitHubError

from . import e2b
from .agents import Command
from .checkpoints.store import Store, ref_of, refs_of
from .e2b import ProviderError
from .mirrors import shipping
from .mirrors.mirror import Mirror
from .mirrors.shipping import JOIN, Shipment
from .models import Checkpoint, Kind, Output, PullRequest, Sandbox
from .reasons import Reason

logger = logging.getLogger(__name__)

# Where the machine finds what is handed over, and the objects that the local host shows it in place of sending them.
SHIPPED = f"{e2b.HOME}/.courier/repository.git"
LENT = f"{e2b.HOME}/.courier/remote"
QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
    "LC_ALL": "C.UTF-8",
}
# What git says, and what a person can do about it.
CAUSES = (
    (
        r"terminal prompts disabled|Authentication failed|Permission denied \(publickey",
        "It is private or doesn't exist, and there is no key for it.",
    ),
    (r"Remote branch .* not found", "It has no such branch."),
    (r"Could not resolve (host|proxy)|Name or service not known", "Its host name is unknown."),
    (r"CONNECT tunnel failed, response 403|403", "The machine may not reach that address."),
    (
        r"[Rr]epository .*not found|does not appear to be a git repository|not found",
        "There is no repository at that address.",
    ),
    (r"Connection refused|Connection timed out|Failed to connect", "Its host can't be reached."),
    (r"No space left", "It does not fit on the machine's disk."),
)


class NoRepository(ProviderError):
    """The repository can't be had; the sentence says why."""

    reason = Reason.CLONE_FAILED
    final = True


@dataclass(frozen=True)
class Stand:
    """How far the handing over of a repository is; `shipped` says that the machine's git finds it in SHIPPED."""

    done: bool
    shipped: bool = False
    log: str = ""


def hand_over(sandbox: Sandbox, since: datetime) -> Stand:
    """Bring the portal's copy of the remote up to what it was at `since` or later, and into the machine.

    What the portal can't fetch the machine is to clone itself: a shallow clone, and a remote that only machines reach
    or that fails. Its git then says why, where people look for it.
    """
    if sandbox.continues:
        with tempfile.TemporaryDirectory(prefix="courier-pack-") as place:
            return Stand(go_on(sandbox, sandbox.continues, Path(place)), shipped=True)
    local = repositories.is_local(sandbox.repository_url)
    if sandbox.depth and not local:
        return Stand(True)
    mirror = Mirror(sandbox.project, sandbox.repository_url)
    try:
        found = mirror.bring(since)
    except GitHubError as error:
        raise NoRepository(str(error)) from error
    if found.failed and local:
        raise NoRepository(f"{sandbox.repository_url} can't be read. git said: {last_line(found.failed)}")
    if found.failed:
        logger.warning("Sandbox %s: the portal could not fetch its repository: %s", sandbox.pk, found.failed)
        return Stand(True, log=f"{found.log}Not by way of the portal: {last_line(found.failed)}\n")
    if not found.done:
        return Stand(False, log=found.log)
    Store.of(sandbox.project).borrow(mirror.path)
    return Stand(ship(Shipment(mirror.refs(), mirror.head), sandbox, mirror), shipped=True, log=found.log)


def ship(shipment: Shipment, sandbox: Sandbox, mirror: Mirror | None) -> bool:
    """Into the sandbox's machine, with all objects of the remote's copy; False when the rest comes at the next look."""
    machine, most = e2b.machine_of(sandbox), e2b.longest_upload(sandbox.provider)
    if mirror is None:
        return shipping.ship(shipment, machine, SHIPPED, most)
    if shipping.lend(mirror.path / "objects", sandbox, LENT):
        return shipping.ship(replace(shipment, borrowed=LENT), machine, SHIPPED, most)
    with mirror.read():
        return shipping.ship(replace(shipment, packs=mirror.packs()), machine, SHIPPED, most)


def go_on(sandbox: Sandbox, checkpoint: Checkpoint, place: Path) -> bool:
    """Ship the work of another machine, from the project's repository on the portal, with all that is of the remote.

    What is not in the remote's copy is packed in `place`.
    """
    store, ref = Store.of(sandbox.project), ref_of(checkpoint.sandbox_id, checkpoint.pk)
    commit, mirror = store.commit_of(ref), Mirror(sandbox.project, sandbox.repository_url)
    if not commit:
        raise NoRepository("The work to go on from is not in the portal's repository any more.")
    copied = bool(sandbox.repository_url) and mirror.there
    known = mirror.refs() if copied else {}
    refs = {name.replace("refs/heads/", "refs/remotes/origin/", 1): value for name, value in known.items()}
    # What a merging session has to merge is beside it.
    pull = PullRequest.objects.filter(sandbox=checkpoint.sandbox_id).first() if sandbox.kind == Kind.MERGING else None
    if pull:
        refs[f"refs/remotes/origin/{pull.base}"] = store.commit_of(f"{refs_of(checkpoint.sandbox_id)}other")
    branch = f"refs/heads/{sandbox.branch or 'main'}"
    try:
        made = store.pack(place, [commit, *refs.values()], set(known.values()))
    except git.GitError as error:
        raise NoRepository(f"The work to go on from is not in the portal's repository any more. {error}") from error
    refs = {name: value for name, value in refs.items() if value} | {branch: commit}
    shipment = Shipment(refs, f"ref: {branch}\n", made=made, shallow=store.cut(commit))
    return ship(shipment, sandbox, mirror if copied else None)


CLONE = f"""{JOIN}
from="$1" to="$2" url="$3"
shift 3
git clone --progress "$@" -- "$from" "$to"
git -C "$to" remote set-url origin "$url"
rm -rf "$from"
"""
CONTINUE = f"""{JOIN}
mkdir -p "$2"
mv "$1" "$2/.git"
cd "$2"
git config core.bare false
git config core.logAllRefUpdates true
if [ -n "$3" ]; then git remote add origin "$3"; fi
git reset -q --hard
"""


def clone_command(sandbox: Sandbox, target: str, *, shipped: bool) -> Command:
    """The machine's part: its repository made from what was handed over, else a `git clone` from the remote.

    Nothing of the URL is ever an option. A private repository's key is in the environment of this one command, and
    asked for by a helper that ends with it; with what was handed over none is needed.
    """
    url = sandbox.repository_url
    options = ["--branch", sandbox.branch] if sandbox.branch else []
    if sandbox.continues_id:
        return Command(("sh", "-ec", CONTINUE, "continue", SHIPPED, target, url), env=QUIET)
    if shipped:
        return Command(("sh", "-ec", CLONE, "clone", SHIPPED, target, url, *options), env=QUIET)
    try:
        credential = remotes.credential(sandbox.project, url)
    except GitHubError as error:
        raise NoRepository(str(error)) from error
    if sandbox.depth:
        options += ["--depth", str(sandbox.depth)]
    argv = ["git", *(credential.options if credential else ()), "clone", "--progress", *options, "--", url, target]
    return Command(tuple(argv), env=QUIET, secret_env=credential.env if credential else {})


def last_line(said: str) -> str:
    """The one in which git says what is wrong."""
    lines = [line for line in re.split(r"[\r\n]+", said.strip()) if line] or [""]
    return next((line for line in reversed(lines) if line.startswith(("fatal:", "error:"))), lines[-1])[:300]


def explain(sandbox: Sandbox, job_id: int) -> str:
    """Why a clone failed, from what git printed."""
    rows = (
        Output.objects.filter(job_id=job_id, stream=Output.Stream.STDERR)
        .order_by("-seq")
        .values_list("data", flat=True)
    )
    text = b"".join(reversed([bytes(data) for data in rows[:20]])).decode(errors="replace")
    cause = next(
        (words for pattern, words in CAUSES if re.search(pattern, text)), "git did not say why in a known way."
    )
    said = [line for line in re.split(r"[\r\n]+", text) if line.startswith(("fatal:", "error:", "remote:"))]
    where = f"{sandbox.repository_url}" + (f", branch {sandbox.branch}" if sandbox.branch else "")
    return f"{where} could not be cloned. {cause}" + (f" git said: {said[-1].strip()}" if said else "")
