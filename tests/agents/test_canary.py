"""No model key is in a machine: searched from inside, everywhere, while an agent works with it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.urls import reverse

from codecourier.models import ProviderKey
from codecourier.redact import needles
from sandboxes import e2b, keys
from tests.agents.clis import PI
from tests.agents.harness import PATIENCE, AgentStack, Conversation, conversing, explain
from tests.conftest import signed_in
from tests.stack import wait_for

SEARCH = Path(__file__).with_name("search.py").read_bytes()
# The agent's tool prints what it has, as agents do, and works on until it is let go.
WORK = "[[shell: env; touch ~/working; while [ ! -e ~/go ]; do sleep 0.05; done]] [[say: Done with it.]]"


def searched(talk: Conversation, *texts: str) -> list[list[str]]:
    """Where in the machine each text is, while the agent's tool runs."""
    machine = wait_for(lambda: working(talk), f"the tool of {talk.cli.tool} to run", PATIENCE)
    machine.write({"/tmp/search.py": SEARCH}, "bring the search")
    backwards = [text[::-1] for text in texts]
    said = machine.run(f"python3 /tmp/search.py {' '.join(backwards)}", "search the machine", seconds=PATIENCE)
    found: dict[str, list[str]] = json.loads(said)
    return [found[text] for text in backwards]


def working(talk: Conversation) -> e2b.Machine | None:
    """Its machine, once the turn is in its tool."""
    talk.sandbox.refresh_from_db()
    assert not talk.sandbox.final, explain(talk)
    assert not talk.sandbox.turns.get().final, explain(talk)
    if talk.sandbox.status != "running":
        return None
    machine = e2b.machine_of(talk.sandbox)
    there = machine.run("test -e ~/working && echo yes || true", "see whether the tool runs").strip()
    return machine if there else None


def let_go(talk: Conversation) -> None:
    """Have the tool end, this time and the next."""
    e2b.machine_of(talk.sandbox).run("touch ~/go", "let the tool end")


def rows() -> Iterator[tuple[str, str]]:
    """(table, all its rows as text), bytes decoded."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            values = [bytes(value) if isinstance(value, memoryview) else value for row in cursor for value in row]
            yield (
                table,
                " ".join(value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values),
            )


def assert_kept_outside(talk: Conversation, key: str) -> None:
    """No row, page or log has the key in any of its encodings; on the host's disk its owner alone can read it."""
    forms = [needle.decode() for needle in needles(key)]
    texts = dict(rows())
    assert "Done with it." in texts["sandboxes_event"]
    assert "PATH=" in texts["sandboxes_output"]
    pages = [reverse("sandboxes:detail", args=[talk.sandbox.project.slug, talk.sandbox.pk])]
    texts |= {page: signed_in(talk.user).get(page).content.decode() for page in pages}
    texts |= {path.name: path.read_text(errors="replace") for path in (talk.stack.state / "log").iterdir()}
    assert [name for name, text in texts.items() if any(form in text for form in forms)] == []
    for path in (talk.stack.state / "host").rglob("*.json"):
        assert key not in path.read_text() or path.stat().st_mode & 0o077 == 0, path


def test_a_working_agents_key_is_nowhere_in_its_machine(
    agent_stack: AgentStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = agent_stack.server.key
    with conversing(agent_stack, PI, WORK) as (talk, turn):
        real, placeholder = searched(talk, key, keys.PLACEHOLDER)
        let_go(talk)
        turn = talk.over(turn)
        assert turn.status == "succeeded", explain(talk)
        assert real == []
        assert {place.split()[0] for place in placeholder} >= {"environ", "memory"}, "the search finds what is there"
        assert_kept_outside(talk, key)
        monkeypatch.setattr(agent_stack.server, "key", "sk-another-canary-59d1c0aa77e2")
        ProviderKey.objects.filter(project=talk.sandbox.project).update(secret=agent_stack.server.key)
        turn = talk.over(talk.send("[[say: Again.]]"))
        assert turn.status == "succeeded", explain(talk)


@pytest.fixture
def handing_over(agent_stack: AgentStack) -> Iterator[AgentStack]:
    """The stack with a worker that gives agents their keys themselves."""
    for mode in ("environment", "egress"):
        agent_stack.kill("worker")
        agent_stack.env["MODEL_KEYS"] = mode
        agent_stack.start("worker")
        if mode == "environment":
            yield agent_stack


def test_a_key_that_is_handed_over_is_in_the_agents_processes_alone(handing_over: AgentStack) -> None:
    key = handing_over.server.key
    with conversing(handing_over, PI, WORK) as (talk, turn):
        (real,) = searched(talk, key)
        let_go(talk)
        turn = talk.over(turn)
        assert turn.status == "succeeded", explain(talk)
        # The agent, the tool it runs, and the courier around it; the daemon has carried it, in its memory alone.
        assert {place.split()[0] for place in real} == {"environ", "memory"}, real
        assert {place.split()[2] for place in real if place.startswith("environ")} == {"pi", "bash", "python3"}, real
        assert_kept_outside(talk, key)
