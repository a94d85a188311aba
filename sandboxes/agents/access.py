"""Which provider and model a turn uses, for the CLIs that speak with several: one is chosen from the keys at hand."""

import re
from dataclasses import dataclass

from .base import Endpoint, Task

# What each CLI looks for; none of them is ever written into a file or an argument.
VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY", "openrouter": "OPENROUTER_API_KEY"}
VENDORS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}
# Whose models have such names.
FAMILIES = {"anthropic": re.compile(r"claude-"), "openai": re.compile(r"(gpt|chatgpt|codex|o\d)\b")}
# The models of OpenAI that have an effort above xhigh (`codex debug models`).
HAS_MAX = re.compile(r"gpt-(5\.6|6)\b")
VERSION = re.compile(r"/v\d+\w*(/|$)")


@dataclass(frozen=True)
class Access:
    """One provider of those that there are; `endpoint` is None where there is none at all."""

    provider: str
    model: str
    endpoint: Endpoint | None

    @property
    def variable(self) -> str:
        """The environment variable of the key."""
        return VARIABLES[self.provider]

    @property
    def secret_env(self) -> dict[str, str]:
        """The key, for the process that needs it."""
        return {self.variable: self.endpoint.key} if self.endpoint and self.endpoint.key else {}

    @property
    def custom(self) -> str:
        """The base URL where it is not the vendor's default."""
        return self.endpoint.base_url.rstrip("/") if self.endpoint else ""

    @property
    def vendors_own(self) -> bool:
        """Whether the vendor itself answers, be it through a gateway that names it in its path."""
        host = VENDORS[self.provider].split("/")[2]
        return not self.custom or host in self.custom

    def effort(self, wanted: str) -> str:
        """Ours as OpenAI's models and OpenRouter call it; only `max` has another name."""
        most = "max" if self.provider == "openai" and HAS_MAX.search(self.model) else "xhigh"
        return most if wanted == "max" else wanted

    def versioned(self) -> str:
        """The base URL as OpenAI's clients want it, with the version at its end."""
        url = self.custom or VENDORS[self.provider]
        return url if VERSION.search(url) else f"{url}/v1"

    def bare(self) -> str:
        """The base URL as Anthropic's client wants it: it adds `/v1/messages` itself."""
        return (self.custom or VENDORS[self.provider]).removesuffix("/v1")


def chosen(task: Task, providers: tuple[str, ...], default: str) -> Access:
    """By the model's name: `provider/model`, else whose family it is, else the first provider that has an endpoint."""
    model = task.model or default
    there = [name for name in providers if name in task.endpoints]
    if not there:
        return Access(next((name for name in providers if _is_of(model, name)), providers[0]), bare_name(model), None)
    prefix, slash, rest = model.partition("/")
    provider = prefix if slash and prefix in there else _matching(model, there)
    name = rest if slash and prefix == provider else model
    if provider == "openrouter" and "/" not in name:
        name = f"{_family(name)}/{name}".removeprefix("/")
    return Access(provider, name, task.endpoints[provider])


def bare_name(model: str) -> str:
    """A model's name without the providers before it."""
    for provider in ("openrouter", "anthropic", "openai"):
        model = model.removeprefix(f"{provider}/")
    return model


def _matching(model: str, there: list[str]) -> str:
    if "/" in model and "openrouter" in there:
        return "openrouter"
    return next((name for name in there if _is_of(model, name)), there[0])


def _is_of(model: str, provider: str) -> bool:
    return model.startswith(f"{provider}/") or _family(model) == provider


def _family(model: str) -> str:
    return next((name for name, pattern in FAMILIES.items() if pattern.match(model)), "")
