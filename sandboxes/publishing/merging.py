"""A merging session: an agent brings a branch up to date where git alone can't.

conflict ──> sandbox of kind `merging` on the last checkpoint, with the base branch's commit beside it
         ──> its turn's checkpoint has both ──> that is what the pull request is brought to, and the session ends
"""

from codecourier import git
from codecourier.models import User
from sandboxes import fleet
from sandboxes.checkpoints.store import Store
from sandboxes.models import Checkpoint, Kind, PullRequest, Sandbox, SessionConfig
from sandboxes.reasons import Reason
from sandboxes.turns import NotPossible

PROMPT = """Merge the commit {onto} (the branch `{base}` as it is now) into the branch that is checked out.

Both sides changed the same lines. Keep what each side wanted; where that is impossible, keep the meaning of `{base}`
and fit this branch's work to it. Run the tests if there are any. Finish with the merge committed and a clean tree.
Change nothing else."""


def begin(row: PullRequest, user: User | None) -> Sandbox:
    """Start it; the same one while it works. NotPossible without a conflict."""
    running = row.merging
    if running and not running.final:
        return running
    if not row.conflict:
        raise NotPossible("There is no conflict that would need an agent.")
    of = row.sandbox
    last = of.checkpoints.stored().last()
    config = SessionConfig.of(row.project, Kind.MERGING)
    fields = {
        "designer_model": of.designer_model, "effort": of.effort, "cpu": of.cpu, "memory_mb": of.memory_mb,
        **config.machine,
    }  # fmt: skip
    if config.template and config.template.tool != of.tool and not config.model:
        fields["designer_model"] = ""
    text = (config.prompt or PROMPT).replace("{onto}", row.conflict).replace("{base}", row.base)
    sandbox = fleet.launch(
        row.project, user, template=config.template or of.template, prompt=text, persona=config.persona,
        kind=Kind.MERGING, repository_url=of.repository_url, branch=of.branch, continues=last,
        setup_script=of.setup_script, publish="nothing", **fields,
    )  # fmt: skip
    fleet.retitle(sandbox, f"Merge {row.base} into {row.branch}"[:200])
    PullRequest.objects.filter(pk=row.pk).update(merging=sandbox)
    return sandbox


def finished(checkpoint: Checkpoint) -> PullRequest | None:
    """The pull request that a checkpoint of a merging session brings up to date; its session ends with it."""
    row = PullRequest.objects.filter(merging=checkpoint.sandbox_id).first()
    if row is None or not row.conflict:
        return None
    try:
        base = Store.of(row.project).git("merge-base", checkpoint.commit, row.conflict).decode().strip()
    except git.GitError:
        return None
    if base != row.conflict:
        return None
    fleet.stop(checkpoint.sandbox, None, Reason.FINISHED)
    return row
