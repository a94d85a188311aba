"""The HTTP side: a thread of its own on loopback, one path prefix (scope) per test."""

import asyncio
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Self

from aiohttp import web

from . import anthropic, chat, responses
from .dialect import Answer, Conversation, Dialect, Frame, Usage
from .script import Failure, Step, steps
from .tools import call

DIALECTS: dict[str, Dialect] = {
    "/v1/messages": anthropic.Anthropic(),
    "/v1/responses": responses.Responses(),
    "/v1/chat/completions": chat.Chat(),
}
KINDS = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded", 529: "overloaded"}
LARGEST = 64 * 1024 * 1024  # bytes of a request
# Before a cut, so that clients have read what was sent: some drop it when the end comes with it.
CUT_AFTER_S = 0.3


@dataclass
class Request:
    """One request as it arrived; `path` without the scope. `told` is the usage that its client has heard of."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    model: str = ""
    told: Usage = field(default_factory=Usage)


class ModelServer:
    """Started by `running`; every method can be called from any thread."""

    def __init__(self, key: str = "sk-scripted-canary-7f3b9c2d51e84a06") -> None:
        self.key = key
        self.port = 0
        self._requests: dict[str, list[Request]] = defaultdict(list)
        self._failed: Counter[tuple[str, str, int, Failure]] = Counter()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model server", daemon=True)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """A server until the end of the block."""
        server = cls()
        server._thread.start()
        assert server._ready.wait(10), "the model server did not start"
        try:
            yield server
        finally:
            server._loop.call_soon_threadsafe(server._stopped.set)
            server._thread.join()

    def url(self, scope: str) -> str:
        """The base URL of a scope, without the `/v1` that OpenAI's clients want in theirs."""
        return f"http://127.0.0.1:{self.port}/{scope}"

    def requests(self, scope: str) -> list[Request]:
        """All model calls of a scope in their order."""
        return [request for request in list(self._requests[scope]) if request.path in DIALECTS]

    def others(self, scope: str) -> list[Request]:
        """What else was asked for in a scope."""
        return [request for request in list(self._requests[scope]) if request.path not in DIALECTS]

    def used(self, scope: str) -> dict[str, dict[str, int]]:
        """Tokens by model and kind, summed over what the clients of a scope were told."""
        sums: dict[str, dict[str, int]] = {}
        for request in self.requests(scope):
            if request.told != Usage():
                tokens = sums.setdefault(request.model, dict.fromkeys((one.name for one in fields(Usage)), 0))
                for name in tokens:
                    tokens[name] += getattr(request.told, name)
        return sums

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=LARGEST)
        app.router.add_route("*", "/{scope}{path:/.*}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stopped.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        scope, path = request.match_info["scope"], request.match_info["path"]
        text = await request.text()
        record = Request(request.method, path, dict(request.headers), json.loads(text) if text else {})
        record.model = record.body.get("model", "")
        self._requests[scope].append(record)
        dialect = DIALECTS.get(path)
        if dialect is None:
            return _elsewhere(path)
        if self._presented(request) != self.key:
            return _refusal(dialect, 401, "The key is not the right one.")
        if record.model.startswith("unknown"):
            return _refusal(dialect, 404, f"The model `{record.model}` does not exist.")
        return await self._perform(request, scope, record, dialect)

    def _presented(self, request: web.Request) -> str:
        return request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")

    async def _perform(self, request: web.Request, scope: str, record: Request, dialect: Dialect) -> web.StreamResponse:
        conversation = dialect.read(record.body)
        script = steps(conversation.prompt)
        step = script[min(conversation.done, len(script) - 1)]
        failure = self._failure(scope, conversation, step)
        if failure and failure.kind == "fail":
            return _refusal(dialect, failure.status, f"Scripted failure {failure.status}.")
        if failure and failure.kind == "hang":
            await asyncio.Event().wait()
        answer = self._answered(scope, conversation, step, dialect)
        if not conversation.stream:
            record.told = answer.usage
            return web.json_response(dialect.whole(answer))
        return await _streamed(request, record, dialect, answer, failure.kind if failure else "")

    def _failure(self, scope: str, conversation: Conversation, step: Step) -> Failure | None:
        """The first failure of a step that has not happened often enough."""
        for failure in step.failures:
            what = (scope, conversation.prompt, conversation.done, failure)
            if failure.times is None or self._failed[what] < failure.times:
                self._failed[what] += 1
                return failure
        return None

    def _answered(self, scope: str, conversation: Conversation, step: Step, dialect: Dialect) -> Answer:
        """The step with counts that no other call of the scope has."""
        number = len(self.requests(scope))
        called = call(*step.action, conversation.tools) if step.action else None
        usage = Usage(
            input=1000 + 7 * number,
            output=40 + 3 * number,
            cache_read=300 + 11 * number,
            cache_write=200 + 13 * number if dialect.writes_cache else 0,
            reasoning=10 + number if step.thinking else 0,
        )
        return Answer(conversation.model, step, called, usage)


async def _streamed(
    request: web.Request, record: Request, dialect: Dialect, answer: Answer, failure: str
) -> web.StreamResponse:
    """Send the frames; a failure strikes after the first delta."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
    await response.prepare(request)
    for frame in dialect.frames(answer):
        await response.write(_encoded(frame))
        record.told = frame.usage or record.told
        if frame.delta:
            await asyncio.sleep(answer.step.pause_ms / 1000)
            if failure:
                await _strike(failure, request, response, dialect)
                return response
    await response.write_eof()
    return response


async def _strike(failure: str, request: web.Request, response: web.StreamResponse, dialect: Dialect) -> None:
    if failure == "stall":
        await asyncio.Event().wait()
    if failure == "broken":
        await response.write(_encoded(dialect.broken()))
        await response.write_eof()
    elif request.transport:  # cut
        await asyncio.sleep(CUT_AFTER_S)
        request.transport.close()


def _encoded(frame: Frame) -> bytes:
    data = frame.data if isinstance(frame.data, str) else json.dumps(frame.data)
    return (f"event: {frame.name}\n" if frame.name else "").encode() + f"data: {data}\n\n".encode()


def _refusal(dialect: Dialect, status: int, text: str) -> web.Response:
    return web.json_response(dialect.error(status, KINDS.get(status, "server_error"), text), status=status)


def _elsewhere(path: str) -> web.Response:
    """What clients ask beside their model calls."""
    if path == "/v1/messages/count_tokens":
        return web.json_response({"input_tokens": 100})
    if path == "/v1/models":
        return web.json_response({"object": "list", "data": []})
    return web.json_response({"error": {"message": f"There is no {path} here."}}, status=404)
