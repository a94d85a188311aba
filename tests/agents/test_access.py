"""Which provider and model a turn uses, by the model's name and the keys at hand."""

import pytest

from sandboxes.agents import Endpoint, Task
from sandboxes.agents.access import bare_name, chosen

ALL = ("anthropic", "openai", "openrouter")


def task(model: str, *providers: str, url: str = "") -> Task:
    return Task("x", "/jobs/1", model=model, endpoints={name: Endpoint(name, url, "k") for name in providers})


@pytest.mark.parametrize(
    ("model", "there", "provider", "name"),
    [
        ("claude-opus-5-5", ALL, "anthropic", "claude-opus-5-5"),
        ("gpt-6-sol", ALL, "openai", "gpt-6-sol"),
        ("o4-mini", ALL, "openai", "o4-mini"),
        ("openai/gpt-6-sol", ALL, "openai", "gpt-6-sol"),
        ("openrouter/openai/gpt-6-sol", ALL, "openrouter", "openai/gpt-6-sol"),
        ("z-ai/glm-6", ALL, "openrouter", "z-ai/glm-6"),
        ("openai/gpt-6-sol", ("openrouter",), "openrouter", "openai/gpt-6-sol"),
        ("gpt-6-sol", ("openrouter",), "openrouter", "openai/gpt-6-sol"),
        ("qwen3:8b", ("openai",), "openai", "qwen3:8b"),
        ("Qwen/Qwen3-8B", ("openai",), "openai", "Qwen/Qwen3-8B"),
        ("openrouter-like", ("openrouter",), "openrouter", "openrouter-like"),
        ("", ("openai",), "openai", "gpt-6.1-sol"),
    ],
)
def test_the_name_of_the_model_decides(model: str, there: tuple[str, ...], provider: str, name: str) -> None:
    access = chosen(task(model, *there), ALL, "gpt-6.1-sol")
    assert (access.provider, access.model) == (provider, name)


def test_without_any_key_the_vendor_of_the_model_is_asked_for_one() -> None:
    access = chosen(task("openai/gpt-6-sol"), ALL, "x")
    assert (access.provider, access.model, access.secret_env) == ("openai", "gpt-6-sol", {})


@pytest.mark.parametrize(
    ("url", "versioned", "bare"),
    [
        ("", "https://api.anthropic.com/v1", "https://api.anthropic.com"),
        ("http://models:8000", "http://models:8000/v1", "http://models:8000"),
        ("http://models:8000/v1/", "http://models:8000/v1", "http://models:8000"),
        ("http://models/api/v3", "http://models/api/v3", "http://models/api/v3"),
    ],
)
def test_each_client_gets_the_base_url_as_it_wants_it(url: str, versioned: str, bare: str) -> None:
    access = chosen(task("claude-opus-5-5", "anthropic", url=url), ALL, "x")
    assert (access.versioned(), access.bare()) == (versioned, bare)


@pytest.mark.parametrize(
    ("url", "own"),
    [("", True), ("http://127.0.0.1:3129/https/api.openai.com:443/v1", True), ("http://models:8000/v1", False)],
)
def test_a_gateway_that_leads_to_the_vendor_is_the_vendor(url: str, own: bool) -> None:
    assert chosen(task("gpt-6-sol", "openai", url=url), ALL, "x").vendors_own is own


def test_a_name_for_prices_has_no_providers() -> None:
    assert bare_name("openrouter/anthropic/claude-opus-5-5") == "claude-opus-5-5"
