"""Which keys an agent may use, where they are added, and what the agent itself is told."""

from collections.abc import Callable

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError

from codecourier.endpoints import validate
from codecourier.models import Endpoint, Project, ProviderKey
from sandboxes import keys
from sandboxes.agents import AGENTS
from sandboxes.agents.script import Script
from sandboxes.models import Sandbox

GATEWAY = "http://127.0.0.1:3129"


class Caller(Script):
    """The script tool with the models of three providers."""

    providers = ("anthropic", "anthropic_token", "openai", "openrouter")


@pytest.fixture
def sandbox(project: Project, launch: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """One of a tool that uses models; no machine."""
    monkeypatch.setitem(AGENTS, "script", Caller())
    return launch("env")


def store(provider: str, secret: str, project: Project | None = None) -> ProviderKey:
    """A key in the database."""
    return ProviderKey.objects.create(provider=provider, secret=secret, project=project)


def headers(sandbox: Sandbox, *, local: bool = True) -> dict[str, dict[str, str]]:
    """What is added to requests, by host."""
    network = keys.network(sandbox, local=local) or {}
    return {host: rules[0]["transform"]["headers"] for host, rules in network["rules"].items()}


def test_without_keys_there_is_nothing_to_use(sandbox: Sandbox) -> None:
    assert keys.endpoints(sandbox) == {}
    assert keys.network(sandbox, local=True) == {"allow_out": [], "rules": {}}


def test_a_tool_without_models_has_no_rules(project: Project, launch: Callable[..., Sandbox]) -> None:
    assert keys.network(launch("true"), local=True) is None


def test_the_nearest_key_is_used(sandbox: Sandbox, settings: LazySettings) -> None:
    settings.PROVIDER_KEYS = {"anthropic": "from-the-environment"}
    assert headers(sandbox) == {"api.anthropic.com": {"x-api-key": "from-the-environment"}}
    store("anthropic", "of-the-deployment")
    assert headers(sandbox) == {"api.anthropic.com": {"x-api-key": "of-the-deployment"}}
    store("anthropic", "of-the-project", sandbox.project)
    store("anthropic", "of-another", Project.objects.create(name="Other", slug="other"))
    assert headers(sandbox) == {"api.anthropic.com": {"x-api-key": "of-the-project"}}


def test_the_nearest_endpoint_is_used(sandbox: Sandbox, settings: LazySettings) -> None:
    settings.PROVIDER_URLS = {"openai": "https://environment.example.com/v1"}
    assert keys.endpoints(sandbox)["openai"].base_url == "https://environment.example.com/v1"
    Endpoint.objects.create(provider="openai", base_url="https://deployment.example.com/v1")
    assert keys.endpoints(sandbox)["openai"].base_url == "https://deployment.example.com/v1"
    Endpoint.objects.create(provider="openai", base_url="https://project.example.com/v1", project=sandbox.project)
    assert keys.endpoints(sandbox)["openai"].base_url == "https://project.example.com/v1"


def test_in_the_cloud_the_agent_is_given_real_addresses_and_a_placeholder(sandbox: Sandbox) -> None:
    store("anthropic", "canary-anthropic")
    store("openrouter", "canary-openrouter")
    Endpoint.objects.create(provider="openrouter", base_url="https://gateway.example.com:8443/v1")
    given = keys.endpoints(sandbox)
    assert (given["anthropic"].base_url, given["openrouter"].base_url) == ("", "https://gateway.example.com:8443/v1")
    assert {endpoint.key for endpoint in given.values()} == {keys.PLACEHOLDER}
    assert keys.network(sandbox, local=False) == {
        "allow_out": ["api.anthropic.com", "gateway.example.com"],
        "rules": {
            "api.anthropic.com": [{"transform": {"headers": {"x-api-key": "canary-anthropic"}}}],
            "gateway.example.com": [{"transform": {"headers": {"Authorization": "Bearer canary-openrouter"}}}],
        },
    }


@pytest.mark.parametrize(
    ("provider", "base_url", "expected"),
    [
        ("anthropic", "", f"{GATEWAY}/https/api.anthropic.com:443"),
        ("openai", "", f"{GATEWAY}/https/api.openai.com:443/v1"),
        ("openrouter", "", f"{GATEWAY}/https/openrouter.ai:443/api/v1"),
        ("openai", "http://127.0.0.1:11434/v1/", f"{GATEWAY}/http/127.0.0.1:11434/v1"),
        ("openai", "http://[::1]:8000", f"{GATEWAY}/http/[::1]:8000"),
    ],
)
def test_on_a_local_host_the_agent_is_given_the_gateway(
    sandbox: Sandbox, provider: str, base_url: str, expected: str
) -> None:
    sandbox.gateway = GATEWAY
    store(provider, "canary-key")
    if base_url:
        Endpoint.objects.create(provider=provider, base_url=base_url)
    assert keys.endpoints(sandbox)[provider].base_url == expected


def test_a_gateway_that_the_machine_made_up_is_none(sandbox: Sandbox) -> None:
    sandbox.gateway = "http://evil.example.com"
    store("anthropic", "canary-key")
    assert keys.endpoints(sandbox)["anthropic"].base_url == ""


def test_a_key_for_a_port_of_ones_own_is_for_that_port_on_a_local_host(sandbox: Sandbox) -> None:
    store("openai", "canary-key")
    Endpoint.objects.create(provider="openai", base_url="http://127.0.0.1:11434/v1")
    bearer = {"Authorization": "Bearer canary-key"}
    assert headers(sandbox) == {"127.0.0.1:11434": bearer}
    assert headers(sandbox, local=False) == {"127.0.0.1": bearer}


def test_a_model_server_may_want_no_key(sandbox: Sandbox) -> None:
    Endpoint.objects.create(provider="openai", base_url="http://127.0.0.1:11434/v1", project=sandbox.project)
    assert keys.endpoints(sandbox)["openai"].key == keys.PLACEHOLDER
    assert keys.network(sandbox, local=True) == {"allow_out": ["127.0.0.1"], "rules": {}}


def test_a_host_takes_the_key_or_the_token_never_both(sandbox: Sandbox) -> None:
    store("anthropic_token", "canary-token")
    assert headers(sandbox) == {"api.anthropic.com": {"Authorization": "Bearer canary-token"}}
    Endpoint.objects.create(provider="anthropic", base_url="https://gateway.example.com")
    assert headers(sandbox) == {"gateway.example.com": {"Authorization": "Bearer canary-token"}}
    assert set(keys.endpoints(sandbox)) == {"anthropic_token"}
    store("anthropic", "canary-key")
    assert headers(sandbox) == {"gateway.example.com": {"x-api-key": "canary-key"}}
    assert set(keys.endpoints(sandbox)) == {"anthropic"}


def test_two_providers_at_one_address_get_the_key_of_the_preferred_one(sandbox: Sandbox) -> None:
    for provider in ("openrouter", "openai"):
        store(provider, f"canary-{provider}")
        Endpoint.objects.create(provider=provider, base_url="https://gateway.example.com/v1")
    assert headers(sandbox) == {"gateway.example.com": {"Authorization": "Bearer canary-openai"}}


def test_where_machines_cannot_add_headers_the_agent_gets_the_key(sandbox: Sandbox, settings: LazySettings) -> None:
    settings.MODEL_KEYS = "environment"
    store("anthropic", "canary-key")
    assert keys.endpoints(sandbox)["anthropic"].key == "canary-key"
    assert keys.network(sandbox, local=True) == {"allow_out": ["api.anthropic.com"], "rules": {}}


def test_keys_of_the_environment_are_redacted_too(project: Project, settings: LazySettings) -> None:
    settings.PROVIDER_KEYS = {"openai": "from-the-environment"}
    assert "from-the-environment" in project.secrets().values()


@pytest.mark.parametrize(
    "url",
    [
        "https://gateway.example.com/v1",
        "https://10.0.0.1:8443",
        "http://127.0.0.1:11434/v1",
        "http://[::1]:1",
        "http://ollama:11434",
        "http://models.internal",
    ],
)
def test_these_endpoints_are_taken(url: str) -> None:
    validate(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://gateway.example.com/v1", "by https only"),
        ("http://8.8.8.8/", "by https only"),
        ("gateway.example.com", "base URL of an API"),
        ("ftp://gateway.example.com", "base URL of an API"),
        ("https://", "base URL of an API"),
        ("https://gateway.example.com/v1?key=1", "leave out what follows"),
        ("https://gateway.example.com/#x", "leave out what follows"),
        ("https://user:word@gateway.example.com", "Leave user and password out"),
        ("https://gateway.example.com:99999", "no URL"),
        ("https://gate way.example.com", "base URL of an API"),
    ],
)
def test_these_endpoints_are_refused_with_the_reason(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        validate(url)


def test_a_key_that_no_request_can_carry_is_refused(project: Project) -> None:
    with pytest.raises(ValidationError, match="one word"):
        ProviderKey(provider="openai", secret="sk-first\nsk-second", project=project).full_clean()
    ProviderKey(provider="github", secret="-----BEGIN\nKEY-----", project=project).full_clean()
