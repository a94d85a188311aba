"""OpenAI Responses, as published under platform.openai.com/docs/api-reference/responses and /responses-streaming."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from .dialect import Answer, Conversation, Frame, Usage, pieces
from .script import asked
from .tools import Call, Tool

CALLS = ("function_call", "custom_tool_call", "local_shell_call")


class Responses:
    """POST /v1/responses."""

    writes_cache = False

    def read(self, body: dict[str, Any]) -> Conversation:
        """Messages, calls and their outputs are items of one list."""
        prompt, done = "", 0
        items = body["input"]
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        for item in items:
            text = _text(item.get("content"))
            if item.get("role") == "user" and (found := asked(text, prompt)) is not None:
                prompt, done = found, 0
            done += item.get("type") in CALLS
        tools = {tool["name"]: tool for tool in _tools(body, items) if tool["type"] in ("function", "custom")}
        offered = {name: Tool(name, tool.get("parameters")) for name, tool in tools.items()}
        return Conversation(body["model"], prompt, done, offered, bool(body.get("stream")))

    def frames(self, answer: Answer) -> Iterator[Frame]:
        """Items one after the other between `created` and `completed`, all numbered."""
        number = count()
        for frame in _unnumbered(answer):
            assert isinstance(frame.data, dict)
            data = {"type": frame.name, "sequence_number": next(number), **frame.data}
            yield Frame(frame.name, data, frame.usage, frame.delta)

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The response that the stream ends with."""
        return _response(answer, "completed", [item for item, _ in _items(answer)])

    def error(self, status: int, kind: str, text: str) -> dict[str, Any]:
        """The code is what clients look at."""
        return {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": kind}}

    def broken(self) -> Frame:
        """A response that failed."""
        error = {"code": "server_error", "message": "The server had an error."}
        response = {"id": "resp_broken", "object": "response", "status": "failed", "error": error, "output": []}
        return Frame("response.failed", {"type": "response.failed", "sequence_number": 99, "response": response})


def _tools(body: dict[str, Any], items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of the request, and those that newer models are given in the course of the conversation."""
    added = [tool for item in items if item.get("type") == "additional_tools" for tool in item["tools"]]
    for tool in [*(body.get("tools") or []), *added]:
        yield from tool["tools"] if tool["type"] == "namespace" else [tool]


def _unnumbered(answer: Answer) -> Iterator[Frame]:
    yield Frame("response.created", {"response": _response(answer, "in_progress", [])})
    yield Frame("response.in_progress", {"response": _response(answer, "in_progress", [])})
    done = []
    for index, (item, parts) in enumerate(_items(answer)):
        yield Frame("response.output_item.added", {"output_index": index, "item": _opened(item)})
        for frame in parts:
            assert isinstance(frame.data, dict)
            data = {"item_id": item["id"], "output_index": index, **frame.data}
            yield Frame(frame.name, data, delta=frame.name.endswith(".delta"))
        yield Frame("response.output_item.done", {"output_index": index, "item": item})
        done.append(item)
    yield Frame("response.completed", {"response": _response(answer, "completed", done)}, answer.usage)


def _items(answer: Answer) -> Iterator[tuple[dict[str, Any], list[Frame]]]:
    """Each item of the output with the frames between its beginning and its end."""
    if answer.step.thinking:
        yield _reasoning(answer)
    if answer.step.text:
        yield _message(answer)
    if answer.call:
        yield _call(answer, answer.call)


def _reasoning(answer: Answer) -> tuple[dict[str, Any], list[Frame]]:
    text, head = answer.step.thinking, {"summary_index": 0}
    part = {"type": "summary_text", "text": text}
    item = {"id": f"rs_{answer.mark}", "type": "reasoning", "summary": [part], "encrypted_content": "c2NyaXB0ZWQ="}
    name = "response.reasoning_summary"
    return item, [
        Frame(f"{name}_part.added", head | {"part": part | {"text": ""}}),
        *(Frame(f"{name}_text.delta", head | {"delta": piece}) for piece in pieces(text)),
        Frame(f"{name}_text.done", head | {"text": text}),
        Frame(f"{name}_part.done", head | {"part": part}),
    ]


def _message(answer: Answer) -> tuple[dict[str, Any], list[Frame]]:
    text, head = answer.step.text, {"content_index": 0}
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"id": f"msg_{answer.mark}", "type": "message", "role": "assistant", "status": "completed"}
    return item | {"content": [part]}, [
        Frame("response.content_part.added", head | {"part": part | {"text": ""}}),
        *(Frame("response.output_text.delta", head | {"delta": piece, "logprobs": []}) for piece in pieces(text)),
        Frame("response.output_text.done", head | {"text": text, "logprobs": []}),
        Frame("response.content_part.done", head | {"part": part}),
    ]


def _call(answer: Answer, call: Call) -> tuple[dict[str, Any], list[Frame]]:
    """A function takes JSON arguments, a custom tool free text."""
    custom = isinstance(call.input, str)
    kind, field = ("custom_tool_call", "input") if custom else ("function_call", "arguments")
    item = {"id": f"fc_{answer.mark}", "type": kind, "status": "completed", "call_id": f"call_{answer.mark}"}
    name = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
    return item | {"name": call.name, field: call.arguments}, [
        *(Frame(f"{name}.delta", {"delta": piece}) for piece in pieces(call.arguments)),
        Frame(f"{name}.done", {field: call.arguments}),
    ]


def _opened(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"summary": [], "content": [], "arguments": "", "input": ""}
    status = {"status": "in_progress"} if "status" in item else {}
    return item | {name: value for name, value in empty.items() if name in item} | status


def _response(answer: Answer, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"resp_{answer.mark}",
        "object": "response",
        "created_at": 1_780_000_000,
        "status": status,
        "model": answer.model,
        "output": output,
        "error": None,
        "incomplete_details": None,
        "usage": _usage(answer.usage) if status == "completed" else None,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    prompt = usage.input + usage.cache_read
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": prompt + usage.output,
    }


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""
