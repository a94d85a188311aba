"""One round: sandboxes start, processes die, people interfere; then everything has to be right."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from codecourier.models import Project, Variable
from codecourier.redact import Redactor
from sandboxes import fleet
from sandboxes.models import Checkpoint, Job, PullRequest, Sandbox, Turn
from tests.chaos import checks
from tests.chaos.blows import Blows, Case
from tests.chaos.scripts import TOKEN, draw
from tests.chaos.spools import Keeper
from tests.sandboxes.repositories import git, make
from tests.stack import Stack, wait_for

SANDBOXES = 5
# All processes run again by then: what isn't over after this is stuck.
# A create that was under way may still end in a machine for a minute, and is looked at every half.
SETTLED, RELEASED, COPIED = 90.0, 120.0, 10.0


@dataclass
class Tally:
    """What was done and found so far."""

    rounds: int = 0
    sandboxes: int = 0
    whole_spools: int = 0
    cut_spools: int = 0
    stored_bytes: int = 0
    turns: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"turns": dict(self.turns)}


class Round:
    """`run` does all of it and adds to the tally."""

    def __init__(self, stack: Stack, keeper: Keeper, blows: Blows, tally: Tally) -> None:
        self.stack, self.keeper, self.blows, self.tally = stack, keeper, blows, tally
        self.project: Project = stack.project()[0]
        Variable.objects.create(project=self.project, name="TOKEN", value=TOKEN, secret=True)
        self.cases: list[Case] = []
        seed = make(stack.state / "remotes" / f"seed-{self.project.pk}")
        self.remote = seed.with_name(f"{self.project.pk}.git")
        git(seed, "clone", "-q", "--bare", str(seed), str(self.remote))

    def run(self) -> None:
        """Launch, strike, settle, check, end, check."""
        self.launch(self.blows.pick)
        self.disturb(self.blows.pick)
        self.must(self.settled, "all turns to end", SETTLED)
        self.must(self.copied, "all spools to be read", COPIED)
        for case in self.cases:
            fleet.stop(case.sandbox, None)
        self.must(self.released, "all machines to be gone", RELEASED)
        self.must(self.pushed, "all work to be at the remote", SETTLED)
        self.must(lambda: not checks.machines(self.stack.state / "host"), "the host to have removed them", RELEASED)
        self.note(self.faults())
        self.tally.rounds += 1
        self.tally.sandboxes += len(self.cases)

    def launch(self, pick: Random) -> None:
        """Some sandboxes; a few boot with a setup script."""
        for _ in range(SANDBOXES):
            script = draw(pick)
            setup = pick.choice(["", "", "echo set up; sleep 0.3"])
            sandbox = self.stack.launch(
                self.project, script.text, setup_script=setup, repository_url=str(self.remote), publish="push"
            )
            self.cases.append(Case(sandbox, {sandbox.turns.get().pk: script}))

    def disturb(self, pick: Random) -> None:
        """Kills and wishes in random order; the first kills come while they boot."""
        acts: list[Callable[[], None]] = [self.blows.strike] * pick.randint(1, 3)
        acts += [lambda: self.blows.wish(pick.choice(self.cases))] * pick.randint(1, 4)
        pick.shuffle(acts)
        for act in acts:
            self.blows.wait(3.0)
            act()

    def must(self, look: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait, and note it when it doesn't come."""
        try:
            wait_for(look, what, seconds)
        except AssertionError as error:
            self.note([str(error), *self.open_rows(), *checks.machines(self.stack.state / "host")])

    def note(self, faults: Iterator[str] | list[str]) -> None:
        """Violations of this round."""
        self.tally.violations += [f"round {self.tally.rounds + 1}: {fault}" for fault in faults]

    def open_rows(self) -> list[str]:
        """Which rows keep it waiting."""
        rows = [*Turn.objects.unfinished(), *Job.objects.live(), *Sandbox.objects.filter(released_at=None)]
        return [f"{type(row).__name__} {row.pk} is {row.status} {row.reason} {row.detail}" for row in rows]

    def settled(self) -> bool:
        """No turn waits or runs."""
        return not Turn.objects.unfinished().filter(sandbox__project=self.project).exists()

    def pushed(self) -> bool:
        """Nothing is on its way to the portal or from there to the remote."""
        saving = Checkpoint.objects.open().filter(sandbox__project=self.project)
        pushing = PullRequest.objects.filter(project=self.project, status=PullRequest.Status.PUSHING)
        return not saving.exists() and not pushing.exists() and not list(self.behind())

    def behind(self) -> Iterator[str]:
        """Branches that are not at the remote as they were saved last."""
        for row in PullRequest.objects.filter(project=self.project):
            last = row.sandbox.checkpoints.stored().last()
            there = git(self.remote, "for-each-ref", "--format=%(objectname)", f"refs/heads/{row.branch}")
            if not last or there != last.commit:
                yield f"{row} of sandbox {row.sandbox_id} is {row.status} {row.detail} at {there}, saved was {last}"

    def copied(self) -> bool:
        """The spools of all machines that live were read to their end."""
        jobs = self.jobs().filter(status=Job.Status.EXITED, sandbox__released_at=None)
        return all(self.keeper.is_whole(pk) for pk in jobs.values_list("pk", flat=True))

    def released(self) -> bool:
        """No row has a machine any more."""
        return not Sandbox.objects.filter(project=self.project, released_at=None).exists()

    def jobs(self) -> Any:
        """Of this round."""
        return Job.objects.filter(sandbox__project=self.project)

    def faults(self) -> Iterator[str]:
        """Everything that isn't as it must be."""
        redactor = Redactor(self.project.secrets())
        for job in self.jobs():
            yield from checks.output(job, self.keeper, redactor)
            yield from checks.history(job)
            self.measure(job)
        for case in self.cases:
            yield from self.outcome(case)
            yield from checks.work(case.sandbox, whole=not case.stopped)
        yield from self.behind()
        yield from checks.store(self.project)
        branches = git(self.remote, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
        known = {"main", *PullRequest.objects.filter(project=self.project).values_list("branch", flat=True)}
        yield from (f"the remote has a branch {name} too many" for name in branches if name not in known)

    def measure(self, job: Job) -> None:
        """Into the tally."""
        whole = self.keeper.is_whole(job.pk)
        self.tally.whole_spools += whole
        self.tally.cut_spools += not whole
        self.tally.stored_bytes += sum(len(data) for _, _, data in checks.stored(job))

    def outcome(self, case: Case) -> Iterator[str]:
        """A sandbox and its turns ended as they had to."""
        case.sandbox.refresh_from_db()
        yield from checks.ended(case.sandbox)
        yield from checks.history(case.sandbox)
        if (case.sandbox.status, case.sandbox.reason) != ("killed", "user"):
            yield f"sandbox {case.sandbox.pk} is {case.sandbox.status}: {case.sandbox.reason} {case.sandbox.detail}"
        for turn in case.sandbox.turns.select_related("job"):
            yield from checks.history(turn)
            self.tally.turns[turn.status] += 1
            if turn.status not in allowed(case, turn):
                yield f"{turn} is {turn.status} ({turn.reason}: {turn.detail}), ran {case.scripts[turn.pk].name}"


def allowed(case: Case, turn: Turn) -> set[str]:
    """How a turn may have ended, by what was done to it."""
    ends = {case.scripts[turn.pk].ends}
    if case.stopped or (turn.job and turn.job.stop_reason):
        ends.add("interrupted")
    if turn.job and turn.job.pk in case.shot:
        ends.add("failed")
    return ends
