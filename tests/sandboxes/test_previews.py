"""Previews of a real server in a real machine: an origin of their own, members only, nothing of the portal there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from codecourier.asgi import application
from codecourier.models import Membership, User
from sandboxes import e2b, previews
from sandboxes.models import Sandbox
from sandboxes.previews import headers, proxy
from tests.conftest import signed_in
from tests.deadline import until
from tests.sandboxes.workbench import disconnected, local, machine, sandbox

__all__ = ["local", "machine", "sandbox"]
pytestmark = pytest.mark.django_db(transaction=True)

PORT = 8123
SOURCE = Path(__file__).with_name("preview_server.py").read_bytes()


@pytest.fixture(scope="module")
def server(machine: e2b.Machine) -> None:
    """Serves in the machine."""
    machine.write({f"{e2b.HOME}/server.py": SOURCE}, "write")
    machine.run("nohup python3 server.py > server.log 2>&1 & echo", "start")
    until(lambda: f"[{PORT}, " in machine.run("python3 - <<'X'\n" + previews.SOURCE + "\nX", "look"))


@pytest.fixture(autouse=True)
async def fresh(server: None) -> AsyncIterator[None]:
    """Nothing is remembered from another test."""
    for memory in (proxy.PERMITTED, proxy.WAYS, proxy.TOUCHED):
        memory.known.clear()
    previews.LOOKS.seen.clear()
    yield
    await proxy.client(named=False).close()
    await disconnected()


def origin(sandbox: Sandbox, port: int = PORT) -> str:
    return f"http://{port}-{sandbox.pk}.localhost:8000"


def portal_address(sandbox: Sandbox, port: int = PORT, to: str = "/") -> str:
    return f"/p/rocket/sandboxes/{sandbox.pk}/previews/{port}/?to={to}"


def invited(client: Client, sandbox: Sandbox, port: int = PORT, to: str = "/") -> str:
    """Where the portal sends a member who opens a preview."""
    answer = client.get(portal_address(sandbox, port, to), headers={"host": "localhost:8000"})
    assert answer.status_code == 302
    return str(answer["Location"])


@asynccontextmanager
async def browser(sandbox: Sandbox, port: int = PORT) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at the preview's origin."""
    transport = httpx.ASGITransport(app=application, client=("192.0.2.7", 1234))
    async with httpx.AsyncClient(transport=transport, base_url=origin(sandbox, port)) as client:
        yield client


@asynccontextmanager
async def inside(user: User, sandbox: Sandbox, port: int = PORT) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of somebody who came in by the portal."""
    address = await sync_to_async(lambda: invited(signed_in(user), sandbox, port))()
    async with browser(sandbox, port) as client:
        answer = await client.get(address)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        yield client


def echoed(answer: httpx.Response) -> dict[str, Any]:
    asked = answer.json()
    return {**asked, "headers": {name.lower(): value for name, value in asked["headers"]}}


async def test_a_member_comes_in_by_the_portal_and_sees_the_server(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        answer = await client.post("/echo/a%2Fb?x=%20y", content=b"hello", headers={"x-own": "1"})
        asked = echoed(answer)
        assert (asked["method"], asked["target"], asked["body"]) == ("POST", "/echo/a%2Fb?x=%20y", "hello")
        assert asked["headers"]["x-own"] == "1"
        assert asked["headers"]["host"] == f"{PORT}-{sandbox.pk}.localhost:8000"
        assert asked["headers"]["x-forwarded-for"] == "192.0.2.7"
        assert answer.headers["x-powered-by"] == "test"


async def test_the_pass_is_kept_from_scripts_and_from_the_server(member: User, sandbox: Sandbox) -> None:
    address = await sync_to_async(lambda: invited(signed_in(member), sandbox))()
    async with browser(sandbox) as client:
        cookie = (await client.get(address)).headers["set-cookie"]
        name, _, rest = cookie.partition("=")
        assert name == "courier-preview"
        assert {"httponly", "samesite=lax", "path=/"} <= {part.strip().lower() for part in rest.split(";")}
        assert "domain" not in rest.lower()
        client.cookies.set("app", "1")
        sent = echoed(await client.get("/echo"))["headers"]
        assert sent["cookie"] == "app=1"
        assert not {name for name in sent if name.startswith(("e2b-", "x-access"))}


async def test_a_ticket_opens_once(member: User, sandbox: Sandbox) -> None:
    address = await sync_to_async(lambda: invited(signed_in(member), sandbox))()
    async with browser(sandbox) as one, browser(sandbox) as other:
        assert (await one.get(address)).status_code == 303
        answer = await other.get(address)
        assert (answer.status_code, "used up" in answer.text) == (403, True)
        assert (await other.get("/echo")).status_code == 403


async def test_a_ticket_and_a_pass_open_one_server_only(member: User, sandbox: Sandbox) -> None:
    address = await sync_to_async(lambda: invited(signed_in(member), sandbox))()
    query = urlsplit(address).query
    async with browser(sandbox, PORT + 1) as other:
        assert (await other.get(f"{previews.ENTER}?{query}")).status_code == 403
    async with inside(member, sandbox) as client, browser(sandbox, PORT + 1) as other:
        other.cookies = client.cookies
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        assert (await other.get("/echo", headers={"cookie": cookie})).status_code == 403


async def test_an_old_ticket_opens_nothing(member: User, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "TICKET_SECONDS", -1)
    address = await sync_to_async(lambda: invited(signed_in(member), sandbox))()
    async with browser(sandbox) as client:
        assert (await client.get(address)).status_code == 403


@pytest.mark.parametrize("to", ["//evil.example/", "https://evil.example/", "/\\evil.example", "/a\r\nX: y"])
async def test_the_way_in_leads_nowhere_else(to: str, member: User, sandbox: Sandbox) -> None:
    address = await sync_to_async(lambda: invited(signed_in(member), sandbox))()
    ticket = parse_qs(urlsplit(address).query)["ticket"][0]
    async with browser(sandbox) as client:
        answer = await client.get(previews.ENTER, params={"ticket": ticket, "to": to})
        assert answer.headers["location"] == "/"


async def test_others_are_not_let_in(stranger: User, member: User, sandbox: Sandbox) -> None:
    turned = await sync_to_async(lambda: signed_in(stranger).get(portal_address(sandbox)))()
    assert turned.status_code == 404
    async with browser(sandbox) as client:
        answer = await client.get("/")
        assert (answer.status_code, "members of the project only" in answer.text) == (403, True)
        for value in ("", "x", "gAAAAA"):
            assert (await client.get("/", headers={"cookie": f"courier-preview={value}"})).status_code == 403


async def test_signing_out_and_leaving_the_project_end_a_pass(member: User, owner: User, sandbox: Sandbox) -> None:
    def leave_the_project() -> None:
        Membership.objects.filter(user=member).delete()

    def change_the_password() -> None:
        owner.set_password("another")
        owner.save()

    for user, leave in ((member, leave_the_project), (owner, change_the_password)):
        async with inside(user, sandbox) as client:
            assert (await client.get("/echo")).status_code == 200
            await sync_to_async(leave)()
            proxy.PERMITTED.known.clear()
            assert (await client.get("/echo")).status_code == 403


async def test_cookies_and_redirects_stay_with_the_preview(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        answer = await client.get("/cookies")
        assert answer.headers.get_list("set-cookie") == ["app=1; Path=/", "plain=2; HttpOnly"]
        assert "clear-site-data" not in answer.headers
        assert (await client.get("/away")).headers["location"] == "/echo?x=1"


@pytest.mark.parametrize(
    "sent",
    [
        {"origin": "http://8123-999.localhost:8000"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "origin": "https://evil.example"},
    ],
)
async def test_pages_elsewhere_can_use_no_pass(sent: dict[str, str], member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        assert (await client.post("/echo", headers=sent)).status_code == 403


async def test_a_link_from_elsewhere_and_the_own_pages_work(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert (await client.get("/echo", headers=link)).status_code == 200
        own = {"sec-fetch-site": "same-origin", "origin": origin(sandbox)}
        assert (await client.post("/echo", headers=own)).status_code == 200
        neighbour = {"sec-fetch-site": "same-site", "origin": origin(sandbox, 3000)}
        assert (await client.post("/echo", headers=neighbour)).status_code == 200


async def test_a_preview_can_not_speak_to_the_portal(member: User, sandbox: Sandbox) -> None:
    session = await sync_to_async(lambda: signed_in(member).cookies["sessionid"].value)()
    sent = {"cookie": f"sessionid={session}", "origin": origin(sandbox)}
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        for method in ("GET", "POST", "OPTIONS"):
            assert (await client.request(method, "/projects/", headers=sent)).status_code == 403
    raw = [(name.encode(), value.encode()) for name, value in {**sent, "host": "localhost"}.items()]
    accepted, _ = await WebsocketCommunicator(application, "/ws/", headers=raw).connect()
    assert not accepted


async def test_the_portal_is_not_served_on_a_previews_name(member: User, sandbox: Sandbox) -> None:
    session = await sync_to_async(lambda: signed_in(member).cookies["sessionid"].value)()
    async with browser(sandbox) as client:
        answer = await client.get("/projects/", headers={"cookie": f"sessionid={session}"})
        assert answer.status_code == 403
    for host in ("8123-x.localhost", "0-1.localhost", "99999-1.localhost", "1-1.evil.example", "1-1.localhost.evil"):
        assert previews.address_of(host) is None


async def test_a_port_where_nothing_listens_says_so(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox, 9) as client:
        answer = await client.get("/")
        assert (answer.status_code, "Nothing listens on port 9" in answer.text) == (502, True)


async def test_a_servers_own_502_and_its_garbage_are_told_apart(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        answer = await client.get("/bad")
        assert (answer.status_code, answer.json()) == (502, {"mine": True})
        answer = await client.get("/garbage")
        assert (answer.status_code, "speak" in answer.text or "spoke no HTTP" in answer.text) == (502, True)


class Stream:
    """A browser that reads an answer piece by piece, and goes away."""

    def __init__(self, cookie: str, sandbox: Sandbox, path: str) -> None:
        self.pieces: list[bytes] = []
        self.enough, self.away = 0, asyncio.Event()
        sent = [(b"host", origin(sandbox)[7:].encode()), (b"cookie", cookie.encode())]
        self.scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
                      "headers": sent, "scheme": "http", "client": ["192.0.2.7", 1]}  # fmt: skip
        self.asked = False

    async def run(self, enough: int) -> None:
        self.enough = enough
        await asyncio.wait_for(application(self.scope, self.receive, self.send), 60)

    async def receive(self) -> dict[str, Any]:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.away.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.pieces.append(message.get("body", b""))
        if b"".join(self.pieces).count(b"data: ") >= self.enough:
            self.away.set()


async def test_a_stream_comes_as_it_is_made_and_ends_with_the_browser(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    stream = Stream(cookie, sandbox, "/stream")
    await stream.run(enough=3)
    assert b"".join(stream.pieces).startswith(b"data: 0\n\ndata: 1\n\n")
    assert len(stream.pieces) < 30


async def test_a_browser_that_gives_up_waiting_is_let_go(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    stream = Stream(cookie, sandbox, "/slow")
    stream.away.set()
    await stream.run(enough=1)
    assert stream.pieces == []


def socket(cookie: str, sandbox: Sandbox, **sent: str) -> WebsocketCommunicator:
    given = {"host": origin(sandbox)[7:], "cookie": cookie, "origin": origin(sandbox), **sent}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items() if value]
    return WebsocketCommunicator(application, "/live?x=1", headers=raw, subprotocols=["vite-hmr"])


async def test_a_websocket_passes_both_ways(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    live: Any = socket(cookie, sandbox)
    accepted, protocol = await live.connect(timeout=30)
    assert (accepted, protocol) == (True, "vite-hmr")
    await live.send_to(text_data="abc")
    assert await live.receive_from(timeout=30) == "cba"
    await live.send_to(bytes_data=b"\x00\xff")
    assert await live.receive_from(timeout=30) == b"\xff\x00"
    await live.disconnect()


async def test_a_websocket_needs_a_pass_and_an_own_page(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    for live in (
        socket("", sandbox),
        socket(cookie, sandbox, origin="https://evil.example"),
        socket(cookie, sandbox, origin=""),
    ):
        assert not (await live.connect(timeout=30))[0]


async def test_a_websocket_ends_with_the_membership(
    member: User, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(proxy.PERMITTED, "seconds", 0.0)
    async with inside(member, sandbox) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    live: Any = socket(cookie, sandbox)
    assert (await live.connect(timeout=30))[0]
    await Membership.objects.filter(user=member).adelete()
    assert (await live.receive_output(timeout=30))["type"] == "websocket.close"


async def test_only_a_person_wakes_a_sleeping_sandbox(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        await sync_to_async(sandbox.enter)(Sandbox.Status.PAUSED, reason="idle")
        await Sandbox.objects.filter(pk=sandbox.pk).aupdate(wanted="pause", stop_by=timezone.now())
        proxy.PERMITTED.known.clear()
        answer = await client.get("/echo", headers={"sec-fetch-mode": "cors"})
        assert (answer.status_code, "sleeps" in answer.text) == (503, True)
        assert (await Sandbox.objects.aget(pk=sandbox.pk)).wanted == "pause"
        proxy.WAKE_SECONDS, seconds = 0.05, proxy.WAKE_SECONDS
        try:
            answer = await client.get("/echo", headers={"sec-fetch-mode": "navigate"})
        finally:
            proxy.WAKE_SECONDS = seconds
        assert (answer.status_code, "Still waking" in answer.text) == (503, True)
        assert (await Sandbox.objects.aget(pk=sandbox.pk)).wanted == "run"
        await sync_to_async(sandbox.enter)(Sandbox.Status.RUNNING)
        assert (await client.get("/echo", headers={"sec-fetch-mode": "navigate"})).status_code == 200


async def test_a_sandbox_that_is_over_says_so(member: User, sandbox: Sandbox) -> None:
    async with inside(member, sandbox) as client:
        await sync_to_async(sandbox.enter)(Sandbox.Status.KILLED, reason="user")
        proxy.PERMITTED.known.clear()
        answer = await client.get("/echo")
        assert (answer.status_code, "machine is gone" in answer.text) == (410, True)


def servers(client: Client, sandbox: Sandbox) -> str:
    answer = client.get(f"/p/rocket/sandboxes/{sandbox.pk}/previews/")
    assert answer.status_code == 200
    return answer.content.decode()


async def test_servers_are_found_with_their_program(member: User, sandbox: Sandbox) -> None:
    html = await sync_to_async(lambda: servers(signed_in(member), sandbox))()
    assert f'id="server-{PORT}"' in html
    assert ">python3<" in html
    assert html.count("<tr id=") == 1, html


async def test_many_pages_cost_one_look(member: User, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[int]()
    listening = previews.listening

    def counted(sandbox: Sandbox) -> list[previews.Server]:
        looks.append(sandbox.pk)
        return listening(sandbox)

    monkeypatch.setattr(previews, "listening", counted)
    monkeypatch.setattr(previews, "LOOK_SECONDS", 60.0)
    for _ in range(3):
        await sync_to_async(lambda: servers(signed_in(member), sandbox))()
    assert looks == [sandbox.pk]


async def test_without_a_domain_there_are_no_previews(member: User, sandbox: Sandbox, settings: LazySettings) -> None:
    settings.PREVIEW_DOMAIN = ""
    assert "Previews are off" in await sync_to_async(lambda: servers(signed_in(member), sandbox))()
    turned = await sync_to_async(lambda: signed_in(member).get(portal_address(sandbox)))()
    assert turned["Location"] == f"/p/rocket/sandboxes/{sandbox.pk}/"
    assert previews.address_of(f"{PORT}-{sandbox.pk}.localhost") is None


def test_a_server_picked_by_its_name_is_told_its_own_origin() -> None:
    into = e2b.Entrance("https://8123-abc.e2b.example", {"E2b-Traffic-Access-Token": "t"}, named=True)
    sent = [(b"host", b"8123-7.localhost"), (b"origin", b"https://8123-7.localhost"), (b"cookie", b"a=1"),
            (b"e2b-sandbox-id", b"other"), (b"x-forwarded-host", b"evil"), (b"connection", b"close")]  # fmt: skip
    said = dict(headers.inward(sent, into, origin="https://8123-7.localhost", client="192.0.2.7"))
    assert said == {
        "host": "8123-abc.e2b.example",
        "origin": "https://8123-abc.e2b.example",
        "cookie": "a=1",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-host": "8123-7.localhost",
        "x-forwarded-proto": "https",
        "E2b-Traffic-Access-Token": "t",
    }
    back = dict(headers.outward([(b"Location", b"https://8123-abc.e2b.example/x?y=1")], into, 8123))
    assert back == {b"location": b"/x?y=1"}


class Liar:
    """A machine that says what it likes."""

    def __init__(self, said: str) -> None:
        self.said = said

    def run(self, *_: object) -> str:
        return self.said


@pytest.mark.parametrize("said", ["", "[[1]]", '[["x", "y"]]', "null", "[[[]]]"])
def test_what_a_machine_says_is_not_believed(said: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e2b, "machine_of", lambda _: Liar(said))
    with pytest.raises(e2b.ProviderError, match="makes no sense"):
        previews.listening(sandbox)


def test_what_a_machine_says_is_bounded(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.dumps([[70000, "x"], [-1, "x"], *[[port, "<b>" * 99] for port in range(1, 999)]])
    monkeypatch.setattr(e2b, "machine_of", lambda _: Liar(said))
    found = previews.listening(sandbox)
    assert (len(found), max(len(server.program) for server in found)) == (50, 40)
