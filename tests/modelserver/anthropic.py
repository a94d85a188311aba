"""Anthropic Messages, as published under docs.anthropic.com/en/api/messages and /messages-streaming."""

from collections.abc import Iterator
from typing import Any

from .dialect import Answer, Conversation, Frame, Usage, pieces
from .script import asked
from .tools import Call, Tool

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Anthropic:
    """POST /v1/messages."""

    writes_cache = True

    def read(self, body: dict[str, Any]) -> Conversation:
        """Tool results and texts come as blocks of user messages."""
        prompt, done = "", 0
        for message in body["messages"]:
            blocks = _blocks(message["content"])
            if message["role"] == "assistant":
                done += any(block["type"] == "tool_use" for block in blocks)
                continue
            for block in blocks:
                if block["type"] == "text" and (found := asked(block["text"], prompt)) is not None:
                    prompt, done = found, 0
        tools = {tool["name"]: Tool(tool["name"], tool.get("input_schema", {})) for tool in body.get("tools", [])}
        return Conversation(body["model"], prompt, done, tools, bool(body.get("stream")))

    def frames(self, answer: Answer) -> Iterator[Frame]:
        """One content block after the other."""
        begun = Usage(answer.usage.input, 1, answer.usage.cache_read, answer.usage.cache_write)
        start = _message(answer) | {"content": [], "stop_reason": None, "usage": _usage(begun)}
        yield _frame("message_start", begun, message=start)
        for index, block in enumerate(_content(answer)):
            yield from _block(index, block)
        delta = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
        yield _frame("message_delta", answer.usage, delta=delta, usage=_usage(answer.usage))
        yield _frame("message_stop")

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The message that the stream would have built."""
        return _message(answer) | {"content": _content(answer), "usage": _usage(answer.usage)}

    def error(self, status: int, kind: str, text: str) -> dict[str, Any]:
        """The type follows the status."""
        error = {"type": KINDS.get(status, "api_error"), "message": text}
        return {"type": "error", "error": error, "request_id": "req_scripted"}

    def broken(self) -> Frame:
        """Overloaded after the headers."""
        return Frame("error", self.error(529, "overloaded", "Overloaded"))


def _blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _message(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.mark}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "stop_reason": _stop_reason(answer),
        "stop_sequence": None,
    }


def _stop_reason(answer: Answer) -> str:
    return "tool_use" if answer.call else "end_turn"


def _content(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.step.thinking:
        blocks.append({"type": "thinking", "thinking": answer.step.thinking, "signature": "c2NyaXB0ZWQ="})
    if answer.step.text:
        blocks.append({"type": "text", "text": answer.step.text})
    if answer.call:
        tool = {"id": f"toolu_{answer.mark}", "name": answer.call.name, "input": answer.call.input}
        blocks.append({"type": "tool_use", **tool})
    return blocks


def _block(index: int, block: dict[str, Any]) -> Iterator[Frame]:
    yield _frame("content_block_start", index=index, content_block=_opened(block))
    for delta in _deltas(block):
        yield Frame("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}, delta=True)
    yield _frame("content_block_stop", index=index)


def _opened(block: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, dict[str, Any]] = {
        "thinking": {"thinking": "", "signature": ""},
        "text": {"text": ""},
        "tool_use": {"input": {}},
    }
    return block | empty[block["type"]]


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "thinking":
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"]))
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in pieces(block["text"]))
    else:
        text = Call(block["name"], block["input"]).arguments
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in pieces(text))


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


def _frame(name: str, told: Usage | None = None, **data: Any) -> Frame:
    return Frame(name, {"type": name, **data}, told)
