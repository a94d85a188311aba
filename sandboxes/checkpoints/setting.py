"""Setting a living machine to another one's work: before a turn that goes on from it.

The same step of a workflow keeps its machine between iterations, while others worked on. What isn't ignored becomes
as it is in the checkpoint; what is ignored (installed packages, caches) stays.
"""

import shlex
import tempfile
from pathlib import Path

from codecourier import git
from sandboxes import e2b, jobs
from sandboxes.models import Checkpoint, Sandbox, Turn
from sandboxes.repository import NoRepository

from .store import Store, ref_of

BUNDLE = f"{jobs.COURIER}/onto.bundle"
SECONDS = 240.0
# $1 the bundle or nothing, $2 the ref in it, $3 the commit, $4 the branch, $5 what is there once the command was begun.
SET = """
if [ -e "$5" ]; then exit 0; fi
cd "$0"
if [ -n "$1" ]; then git fetch -q --update-shallow "$1" "+$2:refs/courier-onto"; rm -f "$1"; fi
git rebase --quit 2>/dev/null || true
git checkout -q -f -B "$4" "$3"
git clean -fdq
"""


def bring(turn: Turn, machine: e2b.Machine) -> None:
    """Do so for a turn that asks for it. NoRepository when the work is not to be had.

    Once more does no harm: as soon as the turn's command is handed over, what is in the machine may be its work.
    """
    if not turn.onto:
        return
    sandbox, store, onto = turn.sandbox, Store.of(turn.sandbox.project), turn.onto
    bundle = handed_over(sandbox, store, onto, machine)
    begun = f"{jobs.folder(turn.job)}/{jobs.SPEC}" if turn.job else ""
    words = (bundle, ref_of(onto.sandbox_id, onto.pk), onto.commit, sandbox.work_branch, begun)
    call = f"bash -ec {shlex.quote(SET)} {jobs.PROJECT} {' '.join(map(shlex.quote, words))}"
    machine.run(call, "set the machine to the work so far", seconds=SECONDS)


def handed_over(sandbox: Sandbox, store: Store, onto: Checkpoint, machine: e2b.Machine) -> str:
    """Where in the machine the bundle is of what it lacks; empty when it lacks nothing."""
    known = has(machine, [*commits(sandbox, store), onto.commit])
    if onto.commit in known:
        return ""
    with tempfile.TemporaryDirectory(prefix="courier-onto-") as folder:
        bundle = Path(folder) / "bundle"
        try:
            store.git(
                "bundle", "create", "-q", bundle, ref_of(onto.sandbox_id, onto.pk), *(f"^{commit}" for commit in known)
            )
        except git.GitError as error:
            raise NoRepository(f"The work to go on from is not in the portal's repository any more. {error}") from error
        machine.write({BUNDLE: bundle.read_bytes()}, "hand over the work so far")
    return BUNDLE


def commits(sandbox: Sandbox, store: Store) -> list[str]:
    """What both sides may know: where it started, and what it saved last."""
    last = sandbox.checkpoints.stored().last()
    return store.known([sandbox.start_commit, last.commit if last else ""])


def has(machine: e2b.Machine, asked: list[str]) -> list[str]:
    """Those of the commits that are in the machine."""
    lines = "\\n".join(asked)
    said = machine.run(
        f"cd {jobs.PROJECT} && printf '{lines}\\n' | git cat-file --batch-check='%(objecttype) %(objectname)'",
        "see what the machine has",
    )
    return [row.removeprefix("commit ") for row in said.splitlines() if row.startswith("commit ")]
