"""The four CLIs as the tests see them: what is asked of each, and where the proof is in its requests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cli:
    """One tool with the provider whose models it is given."""

    tool: str
    provider: str
    # The path below a scope that its endpoint's base URL ends with.
    path: str
    model: str
    effort: str
    # Where a request says the effort, and what it says there.
    said: Callable[[dict[str, Any]], Any]
    level: str
    # The model's name as it arrives.
    arrives: str
    # How a command of ours is called in a prompt; empty where the CLI has none.
    command: str = ""
    # Whether an interrupted turn says what it used.
    interrupted_usage: bool = True


CLAUDE = Cli(
    "claude",
    "anthropic",
    "",
    "claude-sonnet-5-5",
    "high",
    lambda body: body.get("output_config", {}).get("effort"),
    "high",
    "claude-sonnet-5-5",
    command="/salute",
)
CODEX = Cli(
    "codex",
    "openai",
    "/v1",
    "gpt-5.5",
    "high",
    lambda body: body.get("reasoning", {}).get("effort"),
    "high",
    "gpt-5.5",
)
OPENCODE = Cli(
    "opencode",
    "openai",
    "/v1",
    "openai/gpt-5.5",
    "high",
    lambda body: body.get("reasoning_effort"),
    "high",
    "gpt-5.5",
    command="/salute",
    # It tells the tokens of a call only once the tools of that call are done.
    interrupted_usage=False,
)
PI = Cli(
    "pi",
    "anthropic",
    "",
    "anthropic/claude-sonnet-5-5",
    "high",
    # It says it as often as it changes, in the course of the conversation.
    lambda body: [one["output_config"]["effort"] for one in body["messages"] if "output_config" in one][-1],
    "high",
    "claude-sonnet-5-5",
    command="/salute",
)
CLIS = (CLAUDE, CODEX, OPENCODE, PI)
