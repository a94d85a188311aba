"""One set of turns per CLI through the product: a tool call, an interrupt in a tool, a follow-up in the session."""

from dataclasses import dataclass
from typing import Any

import pytest

from sandboxes.agents import AGENTS
from sandboxes.models import Turn
from tests.agents.clis import CLIS, Cli
from tests.agents.harness import (
    BRIEFING,
    COMMAND,
    INSTRUCTION,
    PATIENCE,
    SKILL,
    SYSTEM,
    AgentStack,
    Conversation,
    conversing,
    explain,
)
from tests.modelserver import Request
from tests.stack import wait_for

# A plain `sleep` is refused by Claude Code.
NAP = "time.sleep(98765)"
FIRST = "Begin. [[think: I look around.]] [[shell: echo from the tool; exit 3]] [[say: The **first** answer.]]"
SECOND = f"[[shell: python3 -c 'import time; {NAP}']] [[say: never]]"
THIRD = "[[say: The last answer.]]"


type Tokens = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Played:
    """What is left of a conversation."""

    cli: Cli
    turns: tuple[Turn, Turn, Turn]
    events: tuple[list[Any], list[Any], list[Any]]
    requests: list[Request]
    used: list[Tokens]
    left: list[str]
    told: str

    def of(self, turn: int, kind: str) -> list[dict[str, Any]]:
        """The data of a turn's events of one kind."""
        return [event.data for event in self.events[turn] if event.kind == kind]


def play(stack: AgentStack, cli: Cli) -> Played:
    """Three turns, and what the machine, the rows and the server say after them."""
    with conversing(stack, cli, FIRST) as (talk, first):
        first, used = talk.over(first), [stack.server.used(talk.scope)]
        second = talk.send(SECOND)
        talk.in_tool(second, NAP)
        second = talk.interrupt(second)
        used.append(stack.server.used(talk.scope))
        saved = talk.sandbox.checkpoints.filter(turn=second).exclude(status="taking")
        wait_for(saved.exists, "the work to be saved", PATIENCE)
        left = list(talk.processes().values())
        third = talk.over(talk.send(f"{cli.command} {THIRD}".strip()))
        used.append(stack.server.used(talk.scope))
        return read(talk, (first, second, third), used, left)


def read(talk: Conversation, turns: tuple[Turn, Turn, Turn], used: list[Tokens], left: list[str]) -> Played:
    first, second, third = (talk.events(turn) for turn in turns)
    requests = talk.stack.server.requests(talk.scope)
    return Played(talk.cli, turns, (first, second, third), requests, used, left, explain(talk))


@pytest.fixture(scope="module", params=CLIS, ids=[cli.tool for cli in CLIS])
def played(request: pytest.FixtureRequest, agent_stack: AgentStack) -> Played:
    """Each CLI's turns, once for all the tests here."""
    return play(agent_stack, request.param)


def body(request: Request) -> str:
    """A request as text."""
    return str(request.body)


def test_every_tool_but_the_script_is_here() -> None:
    assert {cli.tool for cli in CLIS} == set(AGENTS) - {"script"}


def test_turns_end_as_they_went(played: Played) -> None:
    statuses = [turn.status for turn in played.turns]
    assert statuses == ["succeeded", "interrupted", "succeeded"], played.told


def test_the_conversation_is_told_in_its_order(played: Played) -> None:
    kinds = [event.kind for event in played.events[0] if event.kind != "usage"]
    assert kinds == ["session", "thinking", "tool_call", "tool_result", "text", "end"], played.told
    assert played.of(0, "thinking")[0]["text"].strip() == "I look around."
    assert played.of(0, "text")[0]["text"] == "The **first** answer."


def test_a_tool_call_has_its_input_output_status_and_duration(played: Played) -> None:
    (call,), (result,) = played.of(0, "tool_call"), played.of(0, "tool_result")
    assert "echo from the tool" in str(call["input"])
    assert result["id"] == call["id"]
    assert "from the tool" in result["output"]
    assert result["exit"] == 3
    assert 0 <= result["seconds"] < PATIENCE


def test_tokens_are_what_the_server_reported_in_each_turn(played: Played) -> None:
    before: Tokens = {}
    for turn, after in zip(played.turns, played.used, strict=True):
        if turn.usage is not None:
            assert list(turn.usage.values()) == list(grown(before, after).values()), played.told
        before = after


def grown(before: Tokens, after: Tokens) -> Tokens:
    """What came to the sums between two looks, by model and kind."""
    return {
        model: {kind: number - before.get(model, {}).get(kind, 0) for kind, number in kinds.items()}
        for model, kinds in after.items()
    }


def test_an_interrupted_turn_says_what_it_used_or_that_nobody_knows(played: Played) -> None:
    assert bool(played.turns[1].usage) is played.cli.interrupted_usage
    assert played.turns[1].usage != {}


def test_model_and_effort_arrive(played: Played) -> None:
    assert {request.model for request in played.requests} == {played.cli.arrives}
    assert {played.cli.said(request.body) for request in played.requests} == {played.cli.level}


@pytest.mark.parametrize("mark", [SYSTEM, INSTRUCTION, SKILL])
def test_the_briefing_arrives(played: Played, mark: str) -> None:
    assert all(mark in body(request) for request in played.requests)
    assert mark in str(BRIEFING)


def test_a_command_is_known_where_the_cli_has_commands(played: Played) -> None:
    assert (COMMAND in body(played.requests[-1])) is bool(played.cli.command)


def test_a_follow_up_knows_what_was_said_before_the_interrupt(played: Played) -> None:
    assert "The **first** answer." in body(played.requests[-1])
    assert "98765" in body(played.requests[-1])
    assert len({events[0].data["id"] for events in played.events if events[0].kind == "session"}) == 1


def test_nothing_is_left_of_an_interrupted_turn(played: Played) -> None:
    assert played.left == []
