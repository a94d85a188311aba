"""The control plane: E2B's REST API for sandboxes, and four routes of our own.

Ours: `POST /sandboxes/ID/protect` (`{"path"}`) makes a folder below the home read-only for
all that runs inside, until the sandbox ends; `POST /sandboxes/ID/lend` (`{"path", "source"}`) shows a folder of the
host's there, read-only; `GET /sandboxes/ID/tombstone` says why a sandbox ended (`{"reason", "at",
"seconds", "oomKills"}`, kept a day, reasons `killed`, `timeout`, `memory`, `disk`,
`crashed`), `GET /sandboxes/ID/events` how often its memory limit was hit.
"""

import hmac
import json
import logging
import math
import urllib.parse
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from . import metrics, payloads, rootfs
from .errors import Refused, gone
from .fleet import Fleet, replace_network
from .record import State
from .sandbox import Sandbox

logger = logging.getLogger(__name__)
type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LONGEST_BODY = 4 << 20
LARGEST_PAGE = 100
NOT_BUILT = (
    "/volumes", "/secrets", "/templates", "/v2/templates", "/v3/templates", "/snapshots",
    "/sandboxes/{id}/snapshots", "/sandboxes/{id}/fork", "/sandboxes/{id}/logs", "/v2/sandboxes/{id}/logs",
)  # fmt: skip


def error(code: int, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=code)


class Rest:
    """Handlers bound to one fleet; `key` is what X-API-KEY must be."""

    def __init__(self, fleet: Fleet, key: str) -> None:
        self.fleet = fleet
        self.key = key

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.guard], client_max_size=LONGEST_BODY)
        app.on_response_prepare.append(close_after)
        for path in ("/sandboxes", "/v2/sandboxes"):
            app.router.add_post(path, self.create)
            app.router.add_get(path, self.list)
        for path in ("/sandboxes/{id}/connect", "/v2/sandboxes/{id}/connect", "/sandboxes/{id}/resume"):
            app.router.add_post(path, self.connect)
        one = "/sandboxes/{id}"
        app.router.add_get(one, self.get)
        app.router.add_delete(one, self.delete)
        app.router.add_post(f"{one}/pause", self.pause)
        app.router.add_post(f"{one}/timeout", self.set_timeout)
        app.router.add_put(f"{one}/network", self.update_network)
        app.router.add_post(f"{one}/protect", self.protect)
        app.router.add_post(f"{one}/lend", self.lend)
        app.router.add_get(f"{one}/metrics", self.metrics)
        app.router.add_get(f"{one}/tombstone", self.tombstone)
        app.router.add_get(f"{one}/events", self.events)
        for path in NOT_BUILT:
            app.router.add_route("*", path, not_built)
            app.router.add_route("*", f"{path}/{{rest:.*}}", not_built)
        return app

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the key, and turn every refusal into E2B's form."""
        if not hmac.compare_digest(request.headers.get("X-API-KEY", "").encode(), self.key.encode()):
            return error(401, "Invalid API key: use the one this host printed when it started")
        try:
            return await handler(request)
        except Refused as refused:
            return error(refused.code, refused.message)
        except web.HTTPException as refused:
            return error(refused.status, f"{request.method} {request.path}: {refused.reason}")
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return error(500, "the host failed; its log says why")

    async def sandbox(self, request: web.Request) -> Sandbox:
        return await self.fleet.find(request.match_info["id"])

    async def create(self, request: web.Request) -> web.Response:
        order = payloads.read_order(await body(request), self.fleet.settings)
        sandbox = await self.fleet.create(order, request.headers.get("Idempotency-Key", ""))
        return web.json_response(payloads.created(sandbox.record, self.fleet.domain), status=201)

    async def list(self, request: web.Request) -> web.Response:
        chosen = choose(self.fleet.all(), request.query)
        limit = payloads.whole("limit", request.query.get("limit", str(LARGEST_PAGE)), 1, LARGEST_PAGE)
        left = page_after(chosen, request.query.get("nextToken", ""), request.query.get("order") == "asc")
        page = left[:limit]
        more = {"x-next-token": token_of(page[-1])} if len(left) > limit else {}
        return web.json_response([payloads.listed_sandbox(one.record) for one in page], headers=more)

    async def get(self, request: web.Request) -> web.Response:
        return web.json_response(payloads.detail((await self.sandbox(request)).record, self.fleet.domain))

    async def connect(self, request: web.Request) -> web.Response:
        wishes = await body(request)
        sandbox = await self.sandbox(request)
        if wishes.get("memory") is False:
            raise Refused(501, "resuming without memory is not available on a local sandbox host")
        resumed = await self.fleet.resume(sandbox, payloads.read_timeout(wishes, self.fleet.settings))
        return web.json_response(payloads.created(sandbox.record, self.fleet.domain), status=201 if resumed else 200)

    async def delete(self, request: web.Request) -> web.Response:
        await self.fleet.finish(await self.sandbox(request), "killed")
        return web.Response(status=204)

    async def pause(self, request: web.Request) -> web.Response:
        wishes = await body(request)
        if wishes.get("memory") is False:
            raise Refused(501, "pausing without memory is not available on a local sandbox host")
        await (await self.sandbox(request)).pause()
        return web.Response(status=204)

    async def set_timeout(self, request: web.Request) -> web.Response:
        wishes = await body(request)
        sandbox = await self.sandbox(request)
        if sandbox.record.state is State.PAUSED:
            raise Refused(409, f"sandbox {sandbox.id!r} is paused; resume it with a timeout instead")
        self.fleet.set_timeout(sandbox, payloads.read_timeout(wishes, self.fleet.settings), shorten=True)
        return web.Response(status=204)

    async def update_network(self, request: web.Request) -> web.Response:
        network = payloads.read_network(await body(request))
        replace_network(await self.sandbox(request), network)
        return web.Response(status=204)

    async def protect(self, request: web.Request) -> web.Response:
        path = payloads.read_path(await body(request), rootfs.HOME)
        sandbox = await self.sandbox(request)
        await sandbox.protect(path)
        return web.Response(status=204)

    async def lend(self, request: web.Request) -> web.Response:
        asked = await body(request)
        path, source = payloads.read_path(asked, rootfs.HOME), payloads.read_source(asked, self.fleet.settings)
        sandbox = await self.sandbox(request)
        await sandbox.lend(source, path)
        return web.Response(status=204)

    async def metrics(self, request: web.Request) -> web.Response:
        sandbox = await self.sandbox(request)
        first, last = read_seconds(request, "start", 0.0), read_seconds(request, "end", math.inf) + 1
        record = sandbox.record
        shown = [one for one in sandbox.samples if first <= one.at < last]
        return web.json_response([metrics.describe(one, record.cpu, record.memory_mb) for one in shown])

    async def tombstone(self, request: web.Request) -> web.Response:
        facts = self.fleet.tombstones.read(request.match_info["id"])
        if not facts:
            raise gone(request.match_info["id"])
        return web.json_response(facts)

    async def events(self, request: web.Request) -> web.Response:
        sandbox = await self.sandbox(request)
        return web.json_response({"oomKills": sandbox.machine.group.oom_kills(), "isolation": self.fleet.groups.kind})


async def not_built(request: web.Request) -> web.Response:
    raise Refused(501, f"{request.path} is not available on a local sandbox host; use the E2B cloud for it")


async def close_after(request: web.Request, response: web.StreamResponse) -> None:
    """One request per connection: the next one on it may be meant for a sandbox."""
    response.headers["Connection"] = "close"
    response.force_close()


def read_seconds(request: web.Request, name: str, otherwise: float) -> float:
    """A time in seconds since the epoch from the query; raises Refused 400 for anything else."""
    try:
        return float(request.query.get(name) or otherwise)
    except ValueError:
        raise Refused(400, f"{name} must be a number of seconds since 1970, not {request.query[name]!r}") from None


async def body(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request, empty when there is no body; raises Refused 400 for anything else."""
    text = await request.text()
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "the body is not a JSON object")
    return value


def choose(sandboxes: list[Sandbox], query: Any) -> list[Sandbox]:
    """Filtered and ordered by start, the newest first unless `order` is asc."""
    states = set(query.get("state", "running,paused").split(","))
    wanted = read_metadata(query.get("metadata", ""))
    after = read_moment(query.get("startedAfter", ""))
    template = query.get("template", "")
    kept = [
        one
        for one in sandboxes
        if one.record.state.value in states
        and wanted.items() <= one.record.metadata.items()
        and (not template or template in (one.record.template, payloads.split_template(one.record.template)[0]))
        and round(one.record.started_at, 6) >= after
    ]
    return sorted(kept, key=rank, reverse=query.get("order") != "asc")


def read_metadata(text: str) -> dict[str, str]:
    """`key=value&...`; the SDK quotes keys and values once more before it encodes the query."""
    unquote = urllib.parse.unquote
    return {unquote(key): unquote(value) for key, value in urllib.parse.parse_qsl(text, keep_blank_values=True)}


def read_moment(text: str) -> float:
    if not text:
        return 0.0
    try:
        return round(datetime.fromisoformat(text.replace(" ", "+")).timestamp(), 6)
    except ValueError:
        raise Refused(400, f"startedAfter must be a time in ISO 8601, not {text!r}") from None


def rank(sandbox: Sandbox) -> tuple[float, str]:
    return sandbox.record.started_at, sandbox.id


def token_of(sandbox: Sandbox) -> str:
    """Names a place in the order, not a sandbox, so that it holds when that sandbox has ended."""
    return f"{sandbox.record.started_at!r}_{sandbox.id}"


def page_after(chosen: list[Sandbox], token: str, ascending: bool) -> list[Sandbox]:
    """What follows the place that `token` names; all when it is empty."""
    if not token:
        return chosen
    start, _, sandbox_id = token.partition("_")
    try:
        place = (float(start), sandbox_id)
    except ValueError:
        raise Refused(400, "nextToken is not one that this host gave out") from None
    return [one for one in chosen if (rank(one) > place if ascending else rank(one) < place)]
