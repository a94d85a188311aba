"""What is done to the stack: processes are killed at random moments, people change their minds."""

import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from django.db import connection

from codecourier import postgres
from sandboxes import e2b, fleet, turns
from sandboxes.models import Job, Sandbox, Turn
from tests.chaos.scripts import Script, draw
from tests.stack import Stack

PROCESSES = ("web", "worker", "relay", "host")
LONGEST_DOWN = 3.0


@dataclass
class Case:
    """One sandbox of a round, and what was done to it."""

    sandbox: Sandbox
    scripts: dict[int, Script] = field(default_factory=dict)  # by turn
    stopped: bool = False
    shot: set[int] = field(default_factory=set)  # jobs whose courier was killed


class Blows:
    """Everything random that a round does; `count` says how often it did what."""

    def __init__(self, stack: Stack, pick: Random) -> None:
        self.stack, self.pick = stack, pick
        self.count: Counter[str] = Counter()

    def strike(self) -> None:
        """Kill one to three processes one after the other, and start them again after a while."""
        victims = self.pick.sample([*PROCESSES, "postgres", "relays"], self.pick.choice([1, 1, 2, 3]))
        for victim in victims:
            self.kill(victim)
            self.wait(0.5)
        self.wait(LONGEST_DOWN)
        self.recover()

    def kill(self, victim: str) -> None:
        """kill -9 of one; half of the time what it had started for itself is left alone."""
        if victim == "postgres":
            connection.close()
            self.stack.kill_postgres()
        elif victim == "relays":
            self.stack.start("relay2")
            self.wait(4.0)
            victim = "relay"
        alone = self.pick.random() < 0.5
        if victim in self.stack.processes:
            self.stack.kill(victim, alone=alone)
        self.count[f"kill {victim}{' alone' if alone and victim != 'postgres' else ''}"] += 1

    def recover(self) -> None:
        """Everything runs again; a second relay has done its work."""
        connection.close()
        postgres.ensure(self.stack.state)
        self.stack.start(*(name for name in PROCESSES if name not in self.stack.processes))
        if "relay2" in self.stack.processes:
            self.stack.kill("relay2")

    def wish(self, case: Case) -> None:
        """One thing that a person or a machine does to one sandbox."""
        act = self.pick.choice([self.follow_up, self.interrupt, self.sleep, self.shoot, self.stop])
        case.sandbox.refresh_from_db()
        try:
            act(case)
        except (turns.NotPossible, e2b.ProviderError):
            self.count[f"{act.__name__} not possible"] += 1
        else:
            self.count[act.__name__] += 1

    def follow_up(self, case: Case) -> None:
        """Another message."""
        script = draw(self.pick)
        case.scripts[turns.send(case.sandbox, None, script.text).pk] = script

    def interrupt(self, case: Case) -> None:
        """The turn, not the machine."""
        turns.interrupt(case.sandbox, None)

    def sleep(self, case: Case) -> None:
        """Pause, and wake after a while: perhaps before it slept."""
        fleet.pause(case.sandbox, None)
        self.wait(3.0)
        fleet.wake(case.sandbox, None)

    def shoot(self, case: Case) -> None:
        """kill -9 of the courier that supervises the running turn, from inside the machine."""
        job = Job.objects.filter(sandbox=case.sandbox, turn__status=Turn.Status.RUNNING, seq__gte=1).first()
        if not job or case.sandbox.status != Sandbox.Status.RUNNING or case.sandbox.wanted != "run":
            raise turns.NotPossible
        case.shot.add(job.pk)
        look = "import json, os; os.kill(json.load(open('meta.json'))['supervisor'], 9)"
        machine = e2b.connect(e2b.provider_of(case.sandbox.project), case.sandbox.provider_id)
        machine.run(f'cd ~/.courier/jobs/{job.pk} && python3 -c "{look}"', "kill the courier")

    def stop(self, case: Case) -> None:
        """End it; now and then twice, so that nothing is saved."""
        case.stopped = True
        fleet.stop(case.sandbox, None)
        if self.pick.random() < 0.3:
            fleet.stop(case.sandbox, None)

    def wait(self, longest: float) -> None:
        """A random while: when things happen is the point here."""
        time.sleep(self.pick.uniform(0, longest))
