"""The agents: one module each, with the same small interface. A fifth is one module and one admin row."""

from . import claude, codex, opencode, pi, script
from .base import Agent, Command, Endpoint, Event, Exit, Found, Task, Verdict

__all__ = ["AGENTS", "Agent", "Command", "Endpoint", "Event", "Exit", "Found", "Task", "Verdict"]

AGENTS: dict[str, Agent] = {
    "script": script.Script(),
    "claude": claude.Claude(),
    "codex": codex.Codex(),
    "opencode": opencode.OpenCode(),
    "pi": pi.Pi(),
}
