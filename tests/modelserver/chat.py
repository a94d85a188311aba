"""OpenAI Chat Completions, as published under platform.openai.com/docs/api-reference/chat.

Thinking goes into `reasoning_content`, as the compatible servers that have it do.
"""

from collections.abc import Iterator
from typing import Any

from .dialect import Answer, Conversation, Frame, Usage, pieces
from .script import asked
from .tools import Tool


class Chat:
    """POST /v1/chat/completions."""

    writes_cache = False

    def read(self, body: dict[str, Any]) -> Conversation:
        """Tool results are messages of their own."""
        prompt, done = "", 0
        for message in body["messages"]:
            text = _text(message.get("content"))
            if message["role"] == "user" and (found := asked(text, prompt)) is not None:
                prompt, done = found, 0
            done += bool(message["role"] == "assistant" and message.get("tool_calls"))
        functions = [tool["function"] for tool in body.get("tools") or [] if tool["type"] == "function"]
        tools = {one["name"]: Tool(one["name"], one.get("parameters", {})) for one in functions}
        return Conversation(body["model"], prompt, done, tools, bool(body.get("stream")))

    def frames(self, answer: Answer) -> Iterator[Frame]:
        """Chunks without event names, the usage in the last but one, then `[DONE]`."""
        yield _chunk(answer, {"role": "assistant", "content": ""})
        for piece in pieces(answer.step.thinking):
            yield _chunk(answer, {"reasoning_content": piece}, delta=True)
        for piece in pieces(answer.step.text):
            yield _chunk(answer, {"content": piece}, delta=True)
        yield from _calls(answer)
        yield _chunk(answer, {}, finish=_finish(answer))
        last = _head(answer, "chat.completion.chunk") | {"choices": [], "usage": _usage(answer.usage)}
        yield Frame("", last, answer.usage)
        yield Frame("", "[DONE]")

    def whole(self, answer: Answer) -> dict[str, Any]:
        """One choice."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.step.text or None}
        if answer.call:
            message["tool_calls"] = [_call(answer, answer.call.arguments)]
        choice = {"index": 0, "message": message, "finish_reason": _finish(answer)}
        return _head(answer, "chat.completion") | {"choices": [choice], "usage": _usage(answer.usage)}

    def error(self, status: int, kind: str, text: str) -> dict[str, Any]:
        """The code is what clients look at."""
        return {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": kind}}

    def broken(self) -> Frame:
        """An error object in place of a chunk."""
        return Frame("", self.error(500, "server_error", "The server had an error."))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{answer.mark}", "object": kind, "created": 1_780_000_000, "model": answer.model}


def _chunk(answer: Answer, what: dict[str, Any], *, finish: str | None = None, delta: bool = False) -> Frame:
    choice = {"index": 0, "delta": what, "finish_reason": finish}
    return Frame("", _head(answer, "chat.completion.chunk") | {"choices": [choice]}, delta=delta)


def _calls(answer: Answer) -> Iterator[Frame]:
    """The name first, then the arguments bit by bit."""
    if answer.call:
        yield _chunk(answer, {"tool_calls": [{"index": 0, **_call(answer, "")}]})
        for piece in pieces(answer.call.arguments):
            yield _chunk(answer, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, delta=True)


def _call(answer: Answer, arguments: str) -> dict[str, Any]:
    name = answer.call.name if answer.call else ""
    return {"id": f"call_{answer.mark}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.call else "stop"


def _usage(usage: Usage) -> dict[str, Any]:
    prompt = usage.input + usage.cache_read
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage.output,
        "total_tokens": prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
