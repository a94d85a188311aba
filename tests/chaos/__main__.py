"""Random kills on the real processes: `uv run python -m tests.chaos --minutes N [--seed S]`.

Prints JSON; exit status 1 on a fault.

Sandboxes print numbered lines, bursts and a secret in two halves while web, worker, two relays, the sandbox host and
PostgreSQL are killed with -9 in random order and people pause, wake and interrupt. Each turn that ended is held against
the spool in its machine; at the end nothing may be left over.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
STATE = Path(tempfile.mkdtemp(prefix="courier-chaos-"))
os.environ["TEST_STATE"] = str(STATE)

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from codecourier import postgres  # noqa: E402
from codecourier.models import Project, Variable  # noqa: E402
from codecourier.redact import Redactor, redact_spool  # noqa: E402
from sandboxes import e2b, fleet, turns  # noqa: E402
from sandboxes.models import Output, Sandbox  # noqa: E402
from tests import stack as stacks  # noqa: E402

AT_ONCE = 4
TOKEN = "tok3n-canary-0123456789"
SCRIPT = """
for i in $(seq 1 {count}); do
  echo "line $i"; [ $((i % 7)) = 0 ] && echo "error $i" >&2
  [ $((i % 20)) = 0 ] && head -c 100000 /dev/urandom | base64
  [ $((i % 15)) = 0 ] && {{ printf 'secret: %s' "${{TOKEN:0:9}}"; sleep 0.05; echo "${{TOKEN:9}}"; }}
  sleep 0.05
done
echo end
"""


class Chaos:
    """One run: what is under way, what was done to it, what was found."""

    def __init__(self, stack: stacks.Stack, seed: int) -> None:
        self.stack, self.pick = stack, random.Random(seed)
        self.project: Project
        self.project, _ = stack.project()
        Variable.objects.create(project=self.project, name="TOKEN", value=TOKEN, secret=True)
        self.under_way: dict[int, str] = {}
        self.kills, self.deeds, self.ends = Counter[str](), Counter[str](), Counter[str]()
        self.faults: list[str] = []

    def round(self) -> None:
        """Fill up, do one thing, check what ended."""
        while len(self.under_way) < AT_ONCE:
            script = SCRIPT.format(count=self.pick.randint(40, 160))
            self.under_way[self.stack.launch(self.project, script).pk] = "undisturbed"
        time.sleep(self.pick.uniform(0.2, 2))
        self.pick.choice([self.kill, self.kill, self.disturb])()
        for pk in list(self.under_way):
            self.check(pk)

    def kill(self) -> None:
        """One process, started again after a moment."""
        name = self.pick.choice(["web", "worker", "relay", "relay2", "host", "postgres"])
        self.kills[name] += 1
        if name == "postgres":
            connection.close()
            self.stack.kill_postgres()
            time.sleep(self.pick.uniform(0, 1))
            postgres.ensure(self.stack.state)
            return
        self.stack.kill(name)
        time.sleep(self.pick.uniform(0, 1))
        self.stack.start(name)

    def disturb(self) -> None:
        """What a person might do to one of the sandboxes."""
        pk = self.pick.choice(list(self.under_way))
        sandbox = Sandbox.objects.get(pk=pk)
        deed = self.pick.choice(["pause", "interrupt", "follow-up"])
        try:
            if deed == "pause":
                fleet.pause(sandbox, None)
                time.sleep(self.pick.uniform(0, 2))
                fleet.wake(Sandbox.objects.get(pk=pk), None)
            elif deed == "interrupt":
                turns.interrupt(sandbox, None)
                self.under_way[pk] = deed
            else:
                turns.send(sandbox, None, "echo follow-up; echo end")
        except turns.NotPossible:
            deed = f"{deed} (not possible)"
        self.deeds[deed] += 1

    def check(self, pk: int) -> None:
        """A sandbox all of whose turns have ended: held against its spools, then ended."""
        sandbox = Sandbox.objects.get(pk=pk)
        found = list(sandbox.turns.select_related("job"))
        if not sandbox.final and not all(turn.final for turn in found):
            return
        if sandbox.final:
            self.faults.append(f"sandbox {pk} ended by itself: {sandbox.status} {sandbox.reason} {sandbox.detail}")
        for number, turn in enumerate(found):
            wanted = "succeeded" if self.under_way[pk] == "undisturbed" or number else "interrupted"
            self.ends[turn.status] += 1
            if turn.status != wanted and not (wanted == "interrupted" and turn.status == "succeeded"):
                self.faults.append(f"turn {turn.pk} is {turn.status} ({turn.reason}: {turn.detail}), not {wanted}")
        if not sandbox.final:
            self.compare(sandbox)
            fleet.stop(sandbox, None)
        del self.under_way[pk]

    def compare(self, sandbox: Sandbox) -> None:
        """Stored against spool, stream by stream, and without a gap."""
        machine = stacks.wait_for(lambda: reach(sandbox), "the machine to answer")
        for job in sandbox.jobs.all():
            spool = machine.read(f"{e2b.HOME}/.courier/jobs/{job.pk}/spool", "read the spool").splitlines()
            wanted = redact_spool(spool, Redactor(self.project.secrets()))
            rows = list(Output.objects.filter(job=job).order_by("seq").values_list("seq", "stream", "data"))
            if [seq for seq, _, _ in rows] != list(range(1, len(rows) + 1)):
                self.faults.append(f"job {job.pk}: the rows have a gap")
            for stream in (Output.Stream.STDOUT, Output.Stream.STDERR):
                stored = b"".join(bytes(data) for _, kind, data in rows if kind == stream)
                if stored != wanted.get(str(stream.label), b""):
                    self.faults.append(f"job {job.pk}: {stream.label} is not the redacted spool")
                if TOKEN.encode() in stored:
                    self.faults.append(f"job {job.pk}: the secret is stored")

    def finish(self) -> None:
        """Everything still under way to its end, then nothing may be left."""
        deadline = time.monotonic() + 120
        while self.under_way and time.monotonic() < deadline:
            for pk in list(self.under_way):
                self.check(pk)
            time.sleep(0.2)
        self.faults += [f"sandbox {pk} is stuck" for pk in self.under_way]
        for sandbox in Sandbox.objects.alive():
            fleet.stop(sandbox, None)
        stacks.wait_for(lambda: not Sandbox.objects.filter(released_at=None).exists(), "all machines to be gone", 60)
        self.faults += [f"machine {machine.id} is left" for machine in e2b.machines(e2b.local_provider())]


def reach(sandbox: Sandbox) -> e2b.Machine | None:
    """Its machine, unless the host is just being started again."""
    try:
        sandbox.refresh_from_db()
        return e2b.connect(e2b.provider_of(sandbox.project), sandbox.provider_id)
    except e2b.ProviderError:
        return None


def main() -> int:
    """Rounds until the time is over."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=5)
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = options.parse_args()
    settings.STATE = STATE
    with stacks.running(STATE) as stack:
        stack.start("relay2")
        chaos = Chaos(stack, chosen.seed)
        until, rounds = time.monotonic() + chosen.minutes * 60, 0
        while time.monotonic() < until:
            chaos.round()
            rounds += 1
        chaos.finish()
    result = {
        "seed": chosen.seed, "minutes": chosen.minutes, "rounds": rounds, "kills": dict(chaos.kills),
        "deeds": dict(chaos.deeds), "turns": dict(chaos.ends), "faults": chaos.faults,
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    return 1 if chaos.faults else 0


if __name__ == "__main__":
    sys.exit(main())
