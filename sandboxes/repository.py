"""How a repository gets into a machine: by `git clone` there, a local path as a bundle."""

import re
import subprocess
import tempfile
from pathlib import Path

from codecourier import git, remotes, repositories
from codecourier.github import GitHubError

from .agents import Command
from .checkpoints.store import Store, ref_of, refs_of
from .e2b import ProviderError
from .models import Checkpoint, Kind, Output, PullRequest, Sandbox
from .reasons import Reason

BUNDLE_SECONDS = 300
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


def clone_command(sandbox: Sandbox, target: str, folder: str) -> Command:
    """`git clone` with nothing of the URL ever an option; a local path is bundled here and cloned from the bundle.

    A private repository's key is in the environment of this one command, and asked for by a helper that ends with it.
    """
    if sandbox.continues:
        return continue_command(sandbox, sandbox.continues, target, folder)
    try:
        credential = remotes.credential(sandbox.project, sandbox.repository_url)
    except GitHubError as error:
        raise NoRepository(str(error)) from error
    argv = ["git", *(credential.options if credential else ()), "clone", "--progress"]
    if sandbox.branch:
        argv += ["--branch", sandbox.branch]
    if repositories.is_local(sandbox.repository_url):
        bundle = f"{folder}/repository.bundle"
        files = {bundle: make_bundle(repositories.local_path(sandbox.repository_url))}
        return Command((*argv, "--", bundle, target), files=files, env=QUIET)
    if sandbox.depth:
        argv += ["--depth", str(sandbox.depth)]
    secret = credential.env if credential else {}
    return Command((*argv, "--", sandbox.repository_url, target), env=QUIET, secret_env=secret)


CONTINUE = """
git init -q -b "$3" "$2"
cd "$2"
if [ -s "$1/shallow" ]; then cp "$1/shallow" .git/shallow; fi
git fetch -q --update-shallow --update-head-ok "$1/repository.bundle" "$4:refs/heads/$3"
if [ -n "$6" ]; then git fetch -q --update-shallow "$1/repository.bundle" "$6:refs/remotes/origin/$7"; fi
git reset -q --hard
if [ -n "$5" ]; then git remote add origin "$5"; fi
"""


def continue_command(sandbox: Sandbox, checkpoint: Checkpoint, target: str, folder: str) -> Command:
    """The work of another machine, from the project's repository on the portal."""
    store, ref = Store.of(sandbox.project), ref_of(checkpoint.sandbox_id, checkpoint.pk)
    # What a merging session has to merge is beside it.
    pull = PullRequest.objects.filter(sandbox=checkpoint.sandbox_id).first() if sandbox.kind == Kind.MERGING else None
    base = f"{refs_of(checkpoint.sandbox_id)}other" if pull else ""
    with tempfile.TemporaryDirectory(prefix="courier-bundle-") as place:
        bundle = Path(place) / "bundle"
        try:
            store.git("bundle", "create", "-q", bundle, ref, *([base] if base else []))
        except git.GitError as error:
            raise NoRepository(f"The work to go on from is not in the portal's repository any more. {error}") from error
        files = {f"{folder}/repository.bundle": bundle.read_bytes(), f"{folder}/shallow": store.shallow()}
    url = "" if repositories.is_local(sandbox.repository_url) else sandbox.repository_url
    words = (folder, target, sandbox.branch or "main", ref, url, base, pull.base if pull else "")
    return Command(("sh", "-ec", CONTINUE, "continue", *words), files=files, env=QUIET)


def make_bundle(path: Path) -> bytes:
    """Every branch and tag of a local repository; NoRepository with git's own words when it can't be read."""
    with tempfile.TemporaryDirectory(prefix="courier-bundle-") as place:
        bundle = Path(place) / "bundle"
        call = ["git", "-c", "safe.directory=*", "-C", str(path), "bundle", "create", "-q", str(bundle)]
        try:
            subprocess.run(
                [*call, "HEAD", "--branches", "--tags"], check=True, capture_output=True, timeout=BUNDLE_SECONDS
            )
        except subprocess.CalledProcessError as error:
            raise NoRepository(f"{path} can't be bundled: {error.stderr.decode(errors='replace').strip()}") from error
        except subprocess.TimeoutExpired as error:
            raise NoRepository(f"{path} could not be bundled within {BUNDLE_SECONDS} s.") from error
        return bundle.read_bytes()


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
