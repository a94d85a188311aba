"""Taking a checkpoint: the machine commits and bundles, the portal fetches, checks and keeps.

after a turn, before a pause or an end ──> row `taking` ──> snapshot in the machine ──> bundle ──> store ──> `stored`

Every step may be repeated: the commit in the machine and the ref in the store are named after the row.
"""

import json
import logging
import shlex
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from codecourier import git
from sandboxes import courier, e2b, jobs
from sandboxes.models import Checkpoint, Sandbox, Turn

from .store import COMMIT, Broken, Store, ref_of

logger = logging.getLogger(__name__)

C = Checkpoint.Status
SCRIPT = f"{jobs.COURIER}/snapshot.py"
# New files above this fit into no remote that people use (https://docs.github.com/repositories/working-with-files).
LARGEST = 100 * 2**20
SECONDS = 240.0


class Unsaved(Exception):
    """This checkpoint can't be had; the sentence says why and what still stands."""


def plan(sandbox: Sandbox, cause: str, turn: Turn | None = None) -> Checkpoint:
    """A checkpoint that is to be taken; the one that waits already, if any."""
    waiting = sandbox.checkpoints.open().filter(cause=cause).first()
    if waiting:
        return waiting
    now = timezone.now()
    row = Checkpoint.objects.create(
        sandbox=sandbox, turn=turn, cause=cause, status=C.TAKING, status_at=now,
        deadline_at=now + Checkpoint.DEADLINES[C.TAKING],
    )  # fmt: skip
    row.record("", row.status, now)
    row.nudge()
    return row


def advance(sandbox: Sandbox, seconds: float = SECONDS) -> None:
    """Take what is planned, oldest first. Faults of the provider that may pass are raised, until the row's deadline."""
    for row in sandbox.checkpoints.open():
        row.sandbox = sandbox
        try:
            take(row, e2b.machine_of(sandbox), seconds)
        except (Unsaved, Broken, git.GitError, e2b.CommandFailed) as error:
            fail(row, str(error))
        except (e2b.Gone, e2b.Denied):
            raise
        except e2b.ProviderError as error:
            if row.deadline_at is None or row.deadline_at > timezone.now():
                raise
            fail(row, str(error))


def take(row: Checkpoint, machine: e2b.Machine, seconds: float) -> None:
    """From the machine into the store, and into the row."""
    sandbox, store = row.sandbox, Store.of(row.sandbox.project)
    said = ask(row, machine, have(sandbox, store), seconds)
    commit, ref = str(said["commit"]), ref_of(row.sandbox_id, row.pk)
    if commit == before(sandbox):
        row.move(C.SAME, commit=commit, left_out=left_out(said), ended_at=timezone.now())
        return
    if not COMMIT.match(commit):
        raise Unsaved("The machine named no commit that could be kept.")
    size = fetch(row, machine, said, ref)
    changed = store.size(sandbox.start_commit, commit)
    row.move(
        C.STORED, commit=commit, bytes=size, left_out=left_out(said), ended_at=timezone.now(),
        files=changed.files, additions=changed.additions, deletions=changed.deletions,
    )  # fmt: skip


def ask(row: Checkpoint, machine: e2b.Machine, known: list[str], seconds: float) -> dict[str, Any]:
    """What the machine says of its snapshot. It is not trusted: every use checks what it needs."""
    project = row.sandbox.project
    order = {
        "project": jobs.PROJECT, "id": row.pk, "branch": row.sandbox.work_branch, "message": message(row),
        "name": project.git_name, "email": project.git_email, "have": known, "bundle": bundle_of(row),
        "largest": LARGEST, "start": row.sandbox.start_commit,
    }  # fmt: skip
    machine.write({SCRIPT: courier.SNAPSHOT}, "hand over what saves the work")
    printed = machine.run(
        f"exec python3 -I -S {SCRIPT} {shlex.quote(json.dumps(order))}", "save the work", seconds=seconds
    )
    try:
        said = json.loads(printed)
        if error := said.get("error"):
            raise Unsaved(f"{str(error)[:400]} {standing(row.sandbox)}")
        return {
            "commit": said["commit"],
            "bytes": int(said["bytes"]),
            "left_out": list(said["left_out"]),
            "shallow": list(said["shallow"]),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unsaved(f"The machine did not say what it saved. {standing(row.sandbox)}") from error


def fetch(row: Checkpoint, machine: e2b.Machine, said: dict[str, Any], ref: str) -> int:
    """Bring the bundle into the store; the bytes that it took."""
    store = Store.of(row.sandbox.project)
    if not said["bytes"]:
        if not store.has(said["commit"]):
            raise Unsaved("The machine handed nothing over for a commit that the portal lacks.")
        store.keep(ref, said["commit"])
        return 0
    most = settings.CHECKPOINT_BYTES
    if said["bytes"] > most:
        raise Unsaved(f"The work is larger than may be kept ({most // 2**20} MB). {standing(row.sandbox)}")
    with tempfile.TemporaryDirectory(prefix="courier-checkpoint-") as folder:
        bundle = Path(folder) / "bundle"
        size = machine.fetch(bundle_of(row), bundle, "fetch the work", most)
        store.take(bundle, ref, said["commit"], [str(commit) for commit in said["shallow"]])
    return size


def have(sandbox: Sandbox, store: Store) -> list[str]:
    """Commits that need not be bundled: what was saved or set last, and where it started."""
    return [commit for commit in (before(sandbox), sandbox.start_commit) if commit and store.has(commit)]


def before(sandbox: Sandbox) -> str:
    """The newest commit that both sides know: the last one saved, or what the machine was set to since."""
    last = sandbox.checkpoints.stored().last()
    turn = sandbox.turns.filter(onto__isnull=False, started_at__isnull=False).select_related("onto").last()
    if turn and turn.onto and turn.started_at and (last is None or last.created_at < turn.started_at):
        return turn.onto.commit
    return last.commit if last else sandbox.start_commit


def message(row: Checkpoint) -> str:
    """The commit's: what was asked, in one line, then where it came from."""
    sandbox = row.sandbox
    subject = sandbox.title
    if row.turn and (said := " ".join(row.turn.prompt.split())):
        subject = said
    subject = subject if len(subject) <= 72 else f"{subject[:71]}…"
    return f"{subject or 'Work in progress'}\n\nSandbox {sandbox.pk}, {row.get_cause_display().lower()}.\n"


def left_out(said: dict[str, Any]) -> list[list[str]]:
    """What the machine says is not in it, bounded."""
    pairs = [entry for entry in said["left_out"] if isinstance(entry, list) and len(entry) == 2]
    return [[str(path)[:300], str(why)[:200]] for path, why in pairs[:100]]


def fail(row: Checkpoint, sentence: str) -> None:
    """It will not be had."""
    logger.warning("Checkpoint %s: %s", row.pk, sentence)
    row.move(C.FAILED, detail=sentence[:1000], ended_at=timezone.now())


def close(sandbox: Sandbox) -> None:
    """The machine is over: what was still to be saved is not, nor what the last turn has done since the last time."""
    last = sandbox.turns.filter(started_at__isnull=False).order_by("position", "pk").last()
    if last and not sandbox.reads_only and not sandbox.checkpoints.filter(created_at__gt=last.started_at).exists():
        plan(sandbox, Checkpoint.Cause.END)
    for row in sandbox.checkpoints.open():
        fail(row, f"The machine was gone before it was saved. {standing(sandbox)}")


def standing(sandbox: Sandbox) -> str:
    """What there is all the same."""
    last = sandbox.checkpoints.stored().last()
    if last is None or last.ended_at is None:
        return "Nothing of it is saved."
    return f"What was saved at {last.ended_at:%H:%M} UTC stands; later changes are not in it."


def bundle_of(row: Checkpoint) -> str:
    """Where the machine leaves it."""
    return f"{jobs.COURIER}/checkpoint.bundle"
