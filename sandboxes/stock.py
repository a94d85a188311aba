"""Templates and models that every installation starts with."""

from personas.models import ModelChoice

from .agents import AGENTS
from .models import Template

# (tool, name, E2B's prebuilt template, description, memory to start with in MB)
STOCK = (
    (
        "script",
        "Script",
        "base",
        "Runs your message as a bash script: tests, linters, migrations. No key needed.",
        1_024,
    ),
    ("claude", "Claude Code", "claude", "Anthropic's agent. Needs an Anthropic or OpenRouter key.", 2_048),
    ("codex", "Codex", "codex", "OpenAI's agent. Needs an OpenAI key.", 2_048),
    ("opencode", "OpenCode", "opencode", "The open agent for models of any provider.", 2_048),
    ("pi", "Pi", "pi", "The small open agent for models of any provider.", 2_048),
)


def templates() -> None:
    """One for each tool; an administrator's changes stay."""
    for tool, name, image, description, memory_mb in STOCK:
        if tool not in AGENTS:
            continue
        Template.objects.get_or_create(
            slug=tool,
            defaults={
                "name": name,
                "tool": tool,
                "image": image,
                "description": description,
                "needs_mb": AGENTS[tool].needs_mb,
                "memory_mb": memory_mb,
            },
        )


def models() -> None:
    """What each tool's module suggests, unless the tool has a list already: an administrator's stays as it is."""
    listed = set(ModelChoice.objects.values_list("tool", flat=True))
    ModelChoice.objects.bulk_create(
        ModelChoice(tool=tool, name=name, position=position)
        for tool, agent in AGENTS.items()
        if tool not in listed
        for position, name in enumerate(agent.models)
    )


def preferred(tool: str) -> str:
    """The model that an administrator put first; empty where that is what the tool's module takes by itself."""
    offered = ModelChoice.offered(tool)
    return "" if offered[:1] == list(AGENTS[tool].models[:1]) else next(iter(offered), "")
