"""The gateway to machines: the only importer of the `e2b` SDK, for the cloud and for the local host alike.

Every fault of the SDK becomes one of ours with a reason. Nothing here retries: who calls has the row, its
deadline and its back-off. Facts: SDK 2.63 (https://e2b.dev/docs); the local host's own additions are
described in `sandboxes.host`.
"""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import httpx
from django.conf import settings
from django.utils.crypto import salted_hmac

from codecourier.lazily import lazily
from codecourier.models import Project, ProviderKey

from .models import Sandbox
from .reasons import Reason

if TYPE_CHECKING:
    import e2b
else:
    # A third of what starting takes: commands and the web process answer before they need it.
    e2b = lazily("e2b")
    if settings.PROCESS in {"worker", "relay"}:
        e2b.E2B  # noqa: B018  (read now, once for all processes that are forked)

logger = logging.getLogger(__name__)

LOCAL, CLOUD = "local", "e2b"
CREATE_SECONDS, CALL_SECONDS, METRICS_SECONDS = 60, 15, 4
HOME = "/home/user"
FAR_UPLOAD, NEAR_UPLOAD = 32 * 2**20, 2**40


class ProviderError(Exception):
    """A machine or its provider did not do what it was asked; `str()` is a sentence for the page."""

    reason = Reason.PROVIDER_ERROR
    # Trying again can't help.
    final = False


class Gone(ProviderError):
    """The provider knows no such machine (any more)."""

    reason = Reason.LOST


class Busy(ProviderError):
    """Over a limit of the plan; later there may be room."""

    reason = Reason.BUSY


class Denied(ProviderError):
    """The provider refused the key."""

    reason = Reason.MISSING_KEY
    final = True


class Refused(ProviderError):
    """The provider will not do it, however often it is asked."""

    final = True


class CommandFailed(ProviderError):
    """A command ended with a status other than 0."""

    reason = Reason.SETUP_FAILED


@dataclass(frozen=True)
class Provider:
    """Where machines come from."""

    name: str
    api_key: str
    api_url: str = ""
    sandbox_url: str = ""


@dataclass(frozen=True)
class Info:
    """What the provider says of a machine."""

    id: str
    state: str  # running or paused
    cpu: int
    memory_mb: int
    started_at: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Usage:
    """What a machine used at a moment: CPU in percent of all that it has, memory and disk in bytes."""

    at: datetime
    cpu: float
    memory: int
    memory_total: int
    disk: int
    disk_total: int


def provider_of(project: Project) -> Provider:
    """The project's own E2B key, else the deployment's, else the local host; Denied when there is none."""
    if secret := project.key(ProviderKey.Provider.E2B):
        return Provider(CLOUD, secret, settings.E2B_API_URL, settings.E2B_SANDBOX_URL)
    return local_provider()


def deployment_providers() -> list[Provider]:
    """Every distinct provider that may hold machines of this deployment."""
    secrets = {key.secret for key in ProviderKey.objects.filter(provider=ProviderKey.Provider.E2B)}
    secrets |= {settings.E2B_API_KEY} - {""}
    found = [Provider(CLOUD, secret, settings.E2B_API_URL, settings.E2B_SANDBOX_URL) for secret in sorted(secrets)]
    try:
        return [*found, local_provider()]
    except Denied:
        return found


def local_provider() -> Provider:
    """The local host by the addresses it printed when it started; Denied when it never ran here."""
    try:
        text = (settings.STATE / "host" / "env").read_text()
    except OSError as error:
        raise Denied(
            "There is no E2B key and no local sandbox host. Set the project's E2B key, or start the host with `up`."
        ) from error
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return Provider(LOCAL, values["E2B_API_KEY"], values["E2B_API_URL"], values["E2B_SANDBOX_URL"])


def isolation(project: Project) -> str:
    """What separates a sandbox of this project from the rest, in words for the page."""
    try:
        name = provider_of(project).name
    except Denied:
        name = LOCAL
    return isolation_of(name)


def isolation_of(name: str) -> str:
    """The isolation of a provider, in words."""
    return "E2B micro-VM" if name == CLOUD else "Local namespaces"


def account(provider: Provider) -> str:
    """Whose plan counts: the same for the same key, and nobody learns the key from it."""
    if provider.name == LOCAL:
        return LOCAL
    return salted_hmac("sandboxes.e2b.account", provider.api_key, algorithm="sha256").hexdigest()[:40]


def max_running(provider: Provider) -> int:
    """How many machines may run at once."""
    return settings.LOCAL_MAX_RUNNING if provider.name == LOCAL else settings.E2B_MAX_RUNNING


def creates_per_second(provider: Provider) -> int:
    """How many machines may be asked for in a second."""
    return 1_000 if provider.name == LOCAL else settings.E2B_CREATES_PER_SECOND


def longest_session(name: str) -> timedelta | None:
    """How long a machine of a provider may run without a pause; None for as long as it likes."""
    return settings.E2B_MAX_SESSION if name == CLOUD else None


def longest_upload(name: str) -> int:
    """How many bytes go into a machine at once: over a long way no more than a worker has time for."""
    return FAR_UPLOAD if name == CLOUD else NEAR_UPLOAD


@cache
def _client(provider: Provider) -> e2b.E2B:
    options: dict[str, Any] = {"api_key": provider.api_key, "request_timeout": CALL_SECONDS, "retries": 0}
    if provider.api_url:
        options["api_url"] = provider.api_url
    if provider.sandbox_url:
        options["sandbox_url"] = provider.sandbox_url
    return e2b.E2B(**options)


@contextmanager
def ours(what: str) -> Iterator[None]:
    """Turn every fault of the SDK into one of ours; `what` says what was tried, as "create the machine"."""
    try:
        yield
    except (e2b.SandboxNotFoundException, e2b.SandboxNotRunningException) as error:
        raise Gone(f"Could not {what}: the machine is gone.") from error
    except (e2b.RateLimitException, e2b.ServiceBusyException) as error:
        raise Busy(f"Could not {what}: the provider has no room just now.") from error
    except e2b.AuthenticationException as error:
        raise Denied(f"Could not {what}: the provider refused the key. Check the E2B key of the project.") from error
    except e2b.TimeoutException as error:
        raise ProviderError(f"Could not {what}: the provider did not answer in time.") from error
    except e2b.BuildException as error:
        # It has no status of its own; a refusal stays one, a fault of the provider's (5xx) may pass.
        kind = ProviderError if str(error).startswith("5") else Refused
        raise kind(f"Could not {what}: {_tail(str(error))}") from error
    except e2b.CommandExitException as error:
        raise CommandFailed(f"Could not {what}: {_tail(error.stderr or error.stdout or str(error))}") from error
    except (e2b.SandboxException, httpx.HTTPError, OSError) as error:
        if getattr(error, "status_code", None) == 404:
            raise Gone(f"Could not {what}: the machine is gone.") from error
        raise ProviderError(f"Could not {what}: {_tail(str(error)) or type(error).__name__}") from error


def _tail(text: str) -> str:
    return text.strip()[-500:]


class Machine:
    """One running machine, for short calls from a worker."""

    def __init__(self, sandbox: e2b.Sandbox) -> None:
        self._sandbox = sandbox
        self.id = sandbox.sandbox_id

    def run(self, command: str, what: str, *, envs: Mapping[str, str] | None = None, seconds: float = 30) -> str:
        """Stdout of a short command; CommandFailed when its status isn't 0."""
        with ours(what):
            return self._sandbox.commands.run(command, envs=dict(envs or {}), timeout=seconds).stdout or ""

    def run_as_root(self, command: str, what: str, *, seconds: float = 30) -> None:
        """The same with all rights inside, which only cloud machines give."""
        with ours(what):
            self._sandbox.commands.run(command, user="root", timeout=seconds)

    def set_network(self, network: Mapping[str, Any]) -> None:
        """Replace all rules for what it reaches, and with which headers."""
        with ours("set the machine's network rules"):
            self._sandbox.update_network(cast(e2b.SandboxNetworkUpdate, network))

    def write(self, files: Mapping[str, bytes], what: str) -> None:
        """Write files at absolute paths in one transfer; folders are made."""
        with ours(what):
            self._sandbox.files.write_files([{"path": path, "data": data} for path, data in files.items()])

    def send(self, path: str, source: BinaryIO, what: str) -> None:
        """The same for one file that may be too long for the memory."""
        with ours(what):
            self._sandbox.files.write_files([{"path": path, "data": source}])

    def read(self, path: str, what: str) -> bytes:
        """The bytes of one file."""
        with ours(what):
            return bytes(self._sandbox.files.read(path, format="bytes"))

    def fetch(self, path: str, to: Path, what: str, most: int) -> int:
        """Bring one file here and return its size; ProviderError when it is longer than `most` bytes."""
        size = 0
        with ours(what), to.open("wb") as target:
            for piece in self._sandbox.files.read(path, format="stream"):
                size += len(piece)
                if size > most:
                    raise ProviderError(f"Could not {what}: it is larger than {most} bytes.")
                target.write(piece)
        return size


class AsyncMachine:
    """One running machine, for the relay's long streams."""

    def __init__(self, sandbox: e2b.AsyncSandbox) -> None:
        self._sandbox = sandbox
        self.id = sandbox.sandbox_id

    async def follow(self, command: str, on_data: Callable[[str], Awaitable[None]]) -> None:
        """Run a command without a time limit and hand on its stdout as it comes.

        Awaiting `on_data` is the backpressure. Returns when the command ends; cancelling disconnects.
        """
        with ours("follow the output"):
            handle = await self._sandbox.commands.run(
                command, background=True, on_stdout=on_data, timeout=0, retain_output=False
            )
            try:
                await handle.wait()
            except e2b.CommandExitException:
                return
            finally:
                await handle.disconnect()

    async def open_terminal(self, size: tuple[int, int], folder: str, on_data: OnOutput) -> Terminal:
        """A new login shell in `folder`; `size` is (columns, rows). Awaiting `on_data` is the backpressure."""
        with ours("open a terminal"):
            columns, rows = size
            pty = self._sandbox.pty
            handle = await pty.create(e2b.PtySize(rows=rows, cols=columns), on_data, cwd=folder, timeout=0)
        return Terminal(pty, handle)

    async def rejoin_terminal(self, pid: int, on_data: OnOutput) -> Terminal | None:
        """A shell that runs already, None when it has ended; what it printed meanwhile is lost."""
        with ours("reach the terminal"):
            try:
                pty = self._sandbox.pty
                return Terminal(pty, await pty.connect(pid, on_data, timeout=0))
            except e2b.SandboxNotFoundException:
                raise
            except e2b.NotFoundException:
                return None

    async def run(self, command: str, what: str, *, seconds: float = 30) -> str:
        """As `Machine.run`."""
        with ours(what):
            return (await self._sandbox.commands.run(command, timeout=seconds)).stdout or ""

    async def stream(self, path: str, what: str) -> AsyncIterator[bytes]:
        """The bytes of one file, a piece at a time."""
        with ours(what):
            async with await self._sandbox.files.read(path, format="stream") as pieces:
                async for piece in pieces:
                    yield piece

    def entrance(self, port: int) -> Entrance:
        """The way to a server in the machine."""
        token = self._sandbox.traffic_access_token
        headers = {"E2b-Traffic-Access-Token": token} if token else {}
        config, domain = self._sandbox.connection_config, self._sandbox.sandbox_domain
        origin = config.get_sandbox_direct_url(self.id, domain, port)
        named = origin == f"https://{self._sandbox.get_host(port)}"
        if not named:
            # One origin for all machines, as the local host has: these two say which server is meant.
            headers |= {"E2b-Sandbox-Id": self.id, "E2b-Sandbox-Port": str(port)}
        return Entrance(origin, headers, named)

    async def close(self) -> None:
        """Nothing to give back: the SDK's connections are shared by all machines of a process."""


OnOutput = Callable[[bytes], Awaitable[None]]


class Terminal:
    """A shell on a pseudo-terminal."""

    def __init__(self, pty: Any, handle: Any) -> None:
        self._pty, self._handle = pty, handle
        self.pid: int = handle.pid

    async def send(self, data: bytes) -> None:
        """Type this."""
        with ours("reach the terminal"):
            await self._pty.send_stdin(self.pid, data)

    async def resize(self, size: tuple[int, int]) -> None:
        """Another size, as (columns, rows)."""
        with ours("reach the terminal"):
            await self._pty.resize(self.pid, e2b.PtySize(rows=size[1], cols=size[0]))

    async def wait(self) -> bool:
        """Until the shell has ended (True) or its stream breaks off (False)."""
        try:
            await self._handle.wait()
        except Exception:
            # Of any status, and a bare Exception for a stream that broke off: what counts is whether there was an end.
            logger.debug("A terminal's stream ended", exc_info=True)
        return self._handle.exit_code is not None

    async def end(self) -> None:
        """Kill the shell and what runs in it; one that has ended already is no fault."""
        with ours("end the terminal"):
            await self._pty.kill(self.pid)

    async def leave(self) -> None:
        """Hear no more of it; it goes on."""
        await self._handle.disconnect()


@dataclass(frozen=True)
class Entrance:
    """How a port of a machine is reached: an origin, headers that open it, and whether the origin's name picks it."""

    origin: str
    headers: Mapping[str, str]
    named: bool


def create(
    provider: Provider,
    *,
    template: str,
    metadata: Mapping[str, str],
    envs: Mapping[str, str],
    key: str,
    network: Mapping[str, Any] | None = None,
) -> Machine:
    """A new machine, or the one made before under the same idempotency key; on timeout it pauses.

    `network` is as in the SDK: which hosts it reaches, and headers that are added on the way to them.
    """
    with ours("create the machine"):
        sandbox = _client(provider).Sandbox.create(
            template=template,
            timeout=int(settings.PROVIDER_TIMEOUT.total_seconds()),
            metadata=dict(metadata),
            envs=dict(envs),
            lifecycle={"on_timeout": "pause"},
            idempotency_key=key,
            network=cast(e2b.SandboxNetworkOpts, network) if network else None,
            request_timeout=CREATE_SECONDS,
        )
    return Machine(sandbox)


def connect(provider: Provider, machine_id: str) -> Machine:
    """An existing machine; a paused one is resumed, so ask only for those that are to run."""
    with ours("reach the machine"):
        seconds = int(settings.PROVIDER_TIMEOUT.total_seconds())
        return Machine(_client(provider).Sandbox.connect(machine_id, timeout=seconds))


def machine_of(sandbox: Sandbox) -> Machine:
    """The machine of a row, connected once for as long as this object of the row lives: one step of one worker."""
    known: Machine | None = vars(sandbox).get("_machine")
    if known is None or known.id != sandbox.provider_id:
        known = connect(provider_of(sandbox.project), sandbox.provider_id)
        vars(sandbox)["_machine"] = known
    return known


async def attach(provider: Provider, machine_id: str) -> AsyncMachine:
    """The same for the relay's loop."""
    with ours("reach the machine"):
        seconds = int(settings.PROVIDER_TIMEOUT.total_seconds())
        return AsyncMachine(await _client(provider).AsyncSandbox.connect(machine_id, timeout=seconds))


def info(provider: Provider, machine_id: str) -> Info:
    """What the provider says of a machine; Gone when it knows none of that id."""
    with ours("ask for the machine"):
        return _info(_client(provider).Sandbox.get_info(machine_id))


def metrics(provider: Provider, machine_id: str, since: datetime | None = None) -> list[Usage]:
    """What the provider measured, oldest first, from a moment on; asked often, so it gives up soon."""
    with ours("ask what the machine uses"):
        found = _client(provider).Sandbox.get_metrics(machine_id, start=since, request_timeout=METRICS_SECONDS)
    return sorted(map(_usage, found), key=lambda usage: usage.at)


def _usage(entry: Any) -> Usage:
    at = entry.timestamp if entry.timestamp.tzinfo else entry.timestamp.replace(tzinfo=UTC)
    return Usage(at, entry.cpu_used_pct, entry.mem_used, entry.mem_total, entry.disk_used, entry.disk_total)


def extend(provider: Provider, machine_id: str) -> None:
    """Push the provider's own timeout ahead: a dead portal costs minutes, not hours."""
    with ours("extend the machine's time"):
        _client(provider).Sandbox.set_timeout(machine_id, int(settings.PROVIDER_TIMEOUT.total_seconds()))


def pause(provider: Provider, machine_id: str) -> None:
    """Pause with memory; pausing a paused machine is no fault."""
    with ours("pause the machine"):
        _client(provider).Sandbox.pause(machine_id, request_timeout=CREATE_SECONDS)


def kill(provider: Provider, machine_id: str) -> None:
    """End a machine; one that is gone already is no fault."""
    with ours("stop the machine"):
        _client(provider).Sandbox.kill(machine_id)


def machines(provider: Provider) -> list[Info]:
    """Every running or paused machine that carries this deployment's name."""
    query = e2b.SandboxQuery(metadata={"codecourier": settings.DEPLOYMENT})
    found: list[Info] = []
    with ours("list the machines"):
        pages = _client(provider).Sandbox.list(query=query)
        while pages.has_next:
            found += [_info(entry) for entry in pages.next_items()]
    return found


def _info(entry: e2b.SandboxInfo) -> Info:
    return Info(
        id=entry.sandbox_id,
        state=entry.state.value,
        cpu=entry.cpu_count,
        memory_mb=entry.memory_mb,
        started_at=entry.started_at,
        metadata=entry.metadata,
    )


def epitaph(provider: Provider, machine_id: str) -> str:
    """Why a machine is gone, where its provider remembers (only the local host does); else empty."""
    if provider.name != LOCAL:
        return ""
    url = f"{provider.api_url}/sandboxes/{machine_id}/tombstone"
    request = urllib.request.Request(  # noqa: S310
        url, headers={"X-API-KEY": provider.api_key}
    )
    try:
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:  # noqa: S310
            return str(json.load(answer).get("reason", ""))
    except (OSError, ValueError, urllib.error.URLError):
        return ""


def ask_host(provider: Provider, machine_id: str, verb: str, body: Mapping[str, str], what: str) -> None:
    """One of the local host's own verbs; Refused when it will never do it."""
    request = urllib.request.Request(  # noqa: S310
        f"{provider.api_url}/sandboxes/{machine_id}/{verb}",
        json.dumps(dict(body)).encode(),
        {"X-API-KEY": provider.api_key, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=CREATE_SECONDS):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(2000).decode(errors="replace")
        kind = {404: Gone, 500: Refused, 501: Refused}.get(error.code, ProviderError)
        raise kind(f"Could not {what}: {said}") from error
    except OSError as error:
        raise ProviderError(f"Could not {what}: the local host did not answer.") from error


def template_name(sandbox: Sandbox) -> str:
    """Cpu and memory are fixed when a template is built, so the size is part of its name."""
    return f"{sandbox.template.image}-{sandbox.cpu}c-{sandbox.memory_mb}m"


def has_template(provider: Provider, name: str) -> bool:
    """Whether the account has a template of this name, built or being built."""
    with ours("look for the template"):
        return bool(_client(provider).Template.exists(name))


def build_template(provider: Provider, image: str, name: str, cpu: int, memory_mb: int) -> tuple[str, str]:
    """Have the template `image` built anew in another size; the ids of the template and of its build."""
    with ours(f"have the template {name} built"):
        template = _client(provider).Template
        built = template.build_in_background(template().from_template(image), name, cpu_count=cpu, memory_mb=memory_mb)
        return built.template_id, built.build_id


@dataclass(frozen=True)
class BuildProgress:
    """How a build goes: waiting, building, ready or error; new lines of its log; why it failed."""

    state: str
    lines: tuple[str, ...]
    reason: str


def build_progress(provider: Provider, ids: tuple[str, str], after: int) -> BuildProgress:
    """What the provider says of a build, its log from entry `after` on (at most 100 entries)."""
    build = e2b.BuildInfo(template_id=ids[0], build_id=ids[1], alias="", name="", tags=[])
    with ours("hear how the template is built"):
        said = _client(provider).Template.get_build_status(build, logs_offset=after)
    return BuildProgress(
        said.status.value,
        tuple(entry.message.rstrip() for entry in said.log_entries),
        said.reason.message.strip() if said.reason else "",
    )
