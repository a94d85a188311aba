"""What chaos sandboxes run: each prints something that is hard to carry, and ends in a way that is known before."""

from dataclasses import dataclass
from random import Random

TOKEN = "tok3n-canary-0123456789/+="
TRAP = "trap 'echo saved; exit 0' TERM\n"
# Every turn changes something that is to be saved and pushed.
WORK = "date +%s.%N >> work.txt\n"


@dataclass(frozen=True)
class Script:
    """A bash script and the status that its turn has to end with when nobody interferes."""

    name: str
    text: str
    ends: str = "succeeded"


LINES = """
for i in $(seq 1 %(n)d); do
  echo "line $i"; [ $((i %% 7)) = 0 ] && echo "error $i" >&2
  sleep 0.0%(pace)d
done
echo end
"""
BURSTS = """
for i in $(seq 1 %(n)d); do
  [ $((i %% 25)) = 0 ] && head -c 400000 /dev/urandom | base64 -w 0
  printf 'burst %%s ' $i; sleep 0.0%(pace)d
done
"""
BINARY = """
for i in $(seq 1 %(n)d); do
  head -c $((i * 37)) /dev/urandom; printf '\\000\\377\\376\\033[2J'
  head -c $((i * 11)) /dev/urandom >&2; sleep 0.0%(pace)d
done
"""
SECRETS = """
for i in $(seq 1 %(n)d); do
  at=$((i %% ${#TOKEN}))
  printf '%%s' "${TOKEN:0:at}"; [ $((i %% 3)) = 0 ] && sleep 0.03
  printf '%%s\\n' "${TOKEN:at}"; printf '%%s' "$TOKEN" | base64 >&2
  printf '%%s' "$TOKEN" | xxd -p 2>/dev/null; sleep 0.0%(pace)d
done
"""
PROGRESS = r"""
for i in $(seq 1 %(n)d); do printf '\r%%3d %%%%' $i; sleep 0.0%(pace)d; done; printf 'no newline'
"""
FLOOD = "seq 1 %(flood)d; echo flooded; sleep 1; seq 1 1000; "
FAILS = LINES + "exit 3\n"
BACKGROUND = "(for i in $(seq 1 %(n)d); do echo child $i; sleep 0.1; done) & echo parent; sleep 2; echo parent ends\n"
KINDS = {
    "lines": (LINES, "succeeded"),
    "bursts": (BURSTS, "succeeded"),
    "binary": (BINARY, "succeeded"),
    "secrets": (SECRETS, "succeeded"),
    "progress": (PROGRESS, "succeeded"),
    "flood": (FLOOD, "succeeded"),
    "fails": (FAILS, "failed"),
    "background": (BACKGROUND, "succeeded"),
}


def draw(pick: Random) -> Script:
    """One at random, between about 2 and 12 s long."""
    name = pick.choice(list(KINDS))
    text, ends = KINDS[name]
    filled = text % {"n": pick.randint(50, 150), "pace": pick.randint(3, 8), "flood": pick.randint(10**5, 10**6)}
    return Script(name, TRAP + WORK + filled, ends)
