"""Who may call what: the control secret, the access token, and one table of routes."""

import sys
import traceback
from collections.abc import Awaitable, Callable

from . import control, files, filesystem_rpc
from .connect import serve_client_stream, serve_stream, serve_unary
from .files import same
from .metrics import Meter
from .process_rpc import ProcessService
from .processes import Table
from .users import Identity, UnknownUser, find
from .watch_rpc import WatchService
from .wire import Exchange, HttpError

Route = Callable[[Exchange, Identity], Awaitable[None]]

UNAUTHORIZED = "unauthorized access, please provide a valid access token or method signing if supported"


class Api:
    """The daemon's HTTP side. `own_ports` are listeners of ours that `/control/ports` leaves out."""

    def __init__(self, secret: str, table: Table, own_ports: set[int]) -> None:
        self._secret = secret
        self._own_ports = own_ports
        self._identity: Identity | None = None
        self._meter = Meter()
        self._routes = _rpc_routes(ProcessService(table), WatchService()) | {
            ("GET", "/files"): files.download,
            ("HEAD", "/files"): files.download,
            ("POST", "/files"): files.upload,
            ("GET", "/envs"): self._envs,
            ("GET", "/metrics"): self._metrics,
        }

    async def handle(self, exchange: Exchange) -> None:
        """Every failure has an answer: a refusal its own, a defect of ours 500 and a traceback in the daemon's log."""
        try:
            await self._dispatch(exchange)
        except HttpError as error:
            await _refuse(exchange, error)
        except ConnectionError:
            raise  # the client left
        except OSError as error:
            if exchange.started:
                raise
            await _refuse(exchange, HttpError(500, f"the sandbox's system refused: {error.strerror}"))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            await _refuse(exchange, HttpError(500, "envd met an unexpected error, see its log"))

    async def _dispatch(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path == "/health":
            await exchange.answer(204)
        elif request.path.startswith("/control/"):
            await self._control(exchange)
        else:
            await self._route(exchange, self._admit(exchange))

    def _admit(self, exchange: Exchange) -> Identity:
        """The identity, for a caller with the token; `/files` checks by itself: a signature may replace it."""
        identity = self._identity
        if identity is None:
            raise HttpError(503, "the sandbox is not initialised yet, try again in a moment")
        token, given = identity.access_token, exchange.request.headers.get("x-access-token", "")
        if token is not None and exchange.request.path != "/files" and not same(given, token):
            raise HttpError(401, UNAUTHORIZED)
        return identity

    async def _route(self, exchange: Exchange, identity: Identity) -> None:
        request = exchange.request
        route = self._routes.get((request.method, request.path))
        if route is not None:
            await route(exchange, identity)
        elif any(path == request.path for _, path in self._routes):
            raise HttpError(405, f"{request.method} is not allowed on {request.path}")
        else:
            raise HttpError(404, f"there is no {request.path} here")

    async def _control(self, exchange: Exchange) -> None:
        request = exchange.request
        if not same(request.headers.get("x-control-token", ""), self._secret):
            raise HttpError(401, "the control routes are for the sandbox's host only")
        match request.method, request.path:
            case "POST", "/control/init":
                self._identity = await control.read_identity(request)
                await exchange.answer(204)
            case "GET", "/control/connect":
                await control.connect(exchange)
            case "GET", "/control/ports":
                await control.answer_ports(exchange, self._own_ports)
            case "POST", "/control/sync":
                await control.sync(exchange)
            case _:
                raise HttpError(404, f"there is no {request.method} {request.path} here")

    async def _envs(self, exchange: Exchange, identity: Identity) -> None:
        await exchange.answer_json(200, identity.envs)

    async def _metrics(self, exchange: Exchange, identity: Identity) -> None:
        try:
            home = find("", identity).home
        except UnknownUser as error:
            raise HttpError(500, str(error)) from None
        await exchange.answer_json(200, self._meter.read(home))


async def _refuse(exchange: Exchange, error: HttpError) -> None:
    """In envd's form. Once an answer has begun only breaking off can tell the client that it is not whole."""
    if exchange.started:
        exchange.keep = False
        return
    await exchange.answer_json(error.status, {"code": error.status, "message": error.message})


def _rpc_routes(processes: ProcessService, watches: WatchService) -> dict[tuple[str, str], Route]:
    unary = {
        "process.Process/List": processes.list,
        "process.Process/Update": processes.update,
        "process.Process/SendInput": processes.send_input,
        "process.Process/SendSignal": processes.send_signal,
        "process.Process/CloseStdin": processes.close_stdin,
        "filesystem.Filesystem/Stat": filesystem_rpc.stat,
        "filesystem.Filesystem/MakeDir": filesystem_rpc.make_dir,
        "filesystem.Filesystem/Move": filesystem_rpc.move,
        "filesystem.Filesystem/ListDir": filesystem_rpc.list_dir,
        "filesystem.Filesystem/Remove": filesystem_rpc.remove,
        "filesystem.Filesystem/CreateWatcher": watches.create,
        "filesystem.Filesystem/GetWatcherEvents": watches.events,
        "filesystem.Filesystem/RemoveWatcher": watches.remove,
    }
    streams = {
        "process.Process/Start": processes.start,
        "process.Process/Connect": processes.connect,
        "filesystem.Filesystem/WatchDir": watches.watch_dir,
    }
    routes = {("POST", f"/{name}"): _route(serve_unary, method) for name, method in unary.items()}
    routes |= {("POST", f"/{name}"): _route(serve_stream, stream) for name, stream in streams.items()}
    routes["POST", "/process.Process/StreamInput"] = _route(serve_client_stream, processes.stream_input)
    return routes


def _route[M](serve: Callable[[Exchange, Identity, M], Awaitable[None]], method: M) -> Route:
    async def route(exchange: Exchange, identity: Identity) -> None:
        await serve(exchange, identity, method)

    return route
