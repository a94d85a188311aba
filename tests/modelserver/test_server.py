"""The model server keeps to its script; that it speaks the vendors' APIs is shown by the real CLIs."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.modelserver import ModelServer

SHELL = {"properties": {"command": {"type": "string"}}, "required": ["command"], "type": "object"}
PATHS = ("/v1/messages", "/v1/responses", "/v1/chat/completions")


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer.running() as server:
        yield server


def body(path: str, prompt: str, **fields: Any) -> dict[str, Any]:
    """A first request with one tool, in the dialect of a path."""
    if path == "/v1/responses":
        tools: list[dict[str, Any]] = [{"type": "function", "name": "shell", "parameters": SHELL}]
        return {"model": "m", "input": [{"role": "user", "content": prompt}], "tools": tools, **fields}
    function = {"name": "shell", "parameters": SHELL}
    tools = [{"type": "function", "function": function}]
    if path == "/v1/messages":
        tools = [{"name": "shell", "input_schema": SHELL}]
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], "tools": tools, **fields}


def ask(server: ModelServer, scope: str, path: str, prompt: str, *, key: str = "", **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key or server.key}"}
    url = server.url(scope) + path
    return httpx.post(url, json=body(path, prompt, **fields), headers=headers, trust_env=False, timeout=10)


@pytest.mark.parametrize("path", PATHS)
def test_a_call_of_the_offered_tool_comes_first(server: ModelServer, path: str) -> None:
    answer = ask(server, "tool" + path[4:7], path, "[[shell: echo hi]] [[say: Hello.]]")
    assert json.dumps({"command": "echo hi"}) in json.dumps(answer.json()).replace("\\", "")
    assert "Hello." not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_every_call_reports_other_counts_and_the_sum_is_known(server: ModelServer, path: str) -> None:
    scope = "sums" + path[4:7]
    first, second = (ask(server, scope, path, "[[say: Hello.]]").json()["usage"] for _ in range(2))
    assert first != second
    outputs = [usage.get("output_tokens", usage.get("completion_tokens")) for usage in (first, second)]
    assert server.used(scope)["m"]["output"] == sum(outputs)


def test_what_a_broken_stream_told_is_counted_as_far_as_it_came(server: ModelServer) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(server, "cut", "/v1/messages", "[[cut]] [[say: Hello.]]", stream=True)
    assert server.used("cut")["m"]["output"] == 1


def test_a_failure_happens_as_often_as_it_is_told(server: ModelServer) -> None:
    prompt = "[[fail: 529 2 times]] [[say: Hello.]]"
    statuses = [ask(server, "fails", "/v1/messages", prompt).status_code for _ in range(3)]
    assert statuses == [529, 529, 200]


def test_a_wrong_key_and_an_unknown_model_are_refused(server: ModelServer) -> None:
    assert ask(server, "refused", "/v1/responses", "[[say: x]]", key="other").status_code == 401
    answer = ask(server, "refused", "/v1/chat/completions", "[[say: x]]", model="unknown-9")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert server.used("refused") == {}


def test_scopes_do_not_mix(server: ModelServer) -> None:
    ask(server, "mine", "/v1/messages", "[[say: x]]")
    assert [request.path for request in server.requests("mine")] == ["/v1/messages"]
    assert server.requests("theirs") == []
