"""The gateway to model endpoints: who gets through it, with what, and that it changes nothing else."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from sandboxes.host import egress
from sandboxes.host.bodies import Body
from sandboxes.host.egress import Egress
from sandboxes.host.errors import Refused
from sandboxes.host.heads import BadHead, Head
from sandboxes.host.payloads import read_network
from sandboxes.host.policy import Denied, Opening, parse_address, require_privacy
from sandboxes.host.record import Network
from sandboxes.host.sandbox import DOORS
from tests.host.endpoints import Endpoint, make_certificate, serving
from tests.host.hosts import HostProcess

KEY = "canary-key-0123456789"
LOOPBACK = (Opening.parse("127.0.0.1"), Opening.parse("localhost"))
PATIENCE = 10


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the test endpoint, which nobody trusts but for the asking."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "endpoint.pem")


@pytest.fixture
async def endpoint(certificate: Path) -> AsyncIterator[Endpoint]:
    """A running endpoint."""
    async with serving(certificate) as running:
        yield running


def rules(host: str, **headers: str) -> dict[str, Any]:
    """The rules of one host, as E2B's API has them."""
    return {host: [{"transform": {"headers": {name.replace("_", "-"): value for name, value in headers.items()}}}]}


def keyed(endpoint: Endpoint) -> Network:
    """A sandbox whose requests to the plain endpoint get a key."""
    return Network(rules=rules(f"127.0.0.1:{endpoint.ports[0]}", x_api_key=KEY))


@asynccontextmanager
async def opened(folder: Path, network: Network) -> AsyncIterator[Egress]:
    """The doors of a sandbox with these rules."""
    ways = Egress(network, LOOPBACK)
    await ways.listen(folder, DOORS)
    try:
        yield ways
    finally:
        ways.close()


@asynccontextmanager
async def client(folder: Path, network: Network) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client of the gateway, keeping one connection as agents do."""
    async with opened(folder, network):
        connector = aiohttp.UnixConnector(str(folder / "gateway.sock"), limit=1)
        async with aiohttp.ClientSession("http://gateway", connector=connector) as session:
            yield session


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    """What the endpoint was sent, each header once."""
    assert len({name for name, _ in answer["headers"]}) == len(answer["headers"])
    return dict(answer["headers"])


async def test_a_key_takes_the_placeholders_place(tmp_path: Path, endpoint: Endpoint) -> None:
    async with client(tmp_path, keyed(endpoint)) as session:
        asked = await session.post(
            f"{endpoint.plain}/v1/messages?beta=true",
            data=b"{}",
            headers={"X-API-Key": "placeholder", "Anthropic-X": "1"},
        )
        answer = await asked.json()
    assert (answer["method"], answer["path"], answer["body"]) == ("POST", "/v1/messages?beta=true", "{}")
    seen = headers_of(answer)
    assert seen["x-api-key"] == KEY
    assert seen["anthropic-x"] == "1"
    assert seen["host"] == f"127.0.0.1:{endpoint.ports[0]}"
    assert KEY not in str(asked.headers)


async def test_nothing_is_added_and_hop_headers_stay_behind(tmp_path: Path, endpoint: Endpoint) -> None:
    hops = {
        "Connection": "keep-alive, X-Hop", "Keep-Alive": "timeout=5", "Proxy-Authorization": "Basic eDp5",
        "TE": "trailers", "X-Hop": "1", "X-Mine": "kept",
    }  # fmt: skip
    async with client(tmp_path, keyed(endpoint)) as session:
        answer = await (await session.get(f"{endpoint.plain}/", headers=hops)).json()
    ours = {"accept", "accept-encoding", "user-agent"}  # of the test's client
    assert headers_of(answer).keys() - ours == {"host", "x-mine", "x-api-key"}


async def test_one_connection_serves_many_requests_and_bodies(tmp_path: Path, endpoint: Endpoint) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for size in (1, 5_000, 70_000):
            yield b"x" * size

    async with client(tmp_path, keyed(endpoint)) as session:
        for body, size in ((None, 0), (b"y" * 300_000, 300_000), (chunks(), 75_001), (b"", 0), (b"z", 1)):
            answer = await (await session.post(f"{endpoint.plain}/v1", data=body)).json()
            assert len(answer["body"]) == size
            assert headers_of(answer)["x-api-key"] == KEY
    assert len(endpoint.connections) == 1


async def test_a_kept_connection_goes_to_the_host_that_is_asked_for(
    tmp_path: Path, endpoint: Endpoint, certificate: Path
) -> None:
    async with serving(certificate) as other:
        network = Network(rules=keyed(endpoint).rules | rules(f"127.0.0.1:{other.ports[0]}", x_api_key="the-other"))
        async with client(tmp_path, network) as session:
            for target, key in ((endpoint, KEY), (other, "the-other"), (endpoint, KEY)):
                answer = await (await session.get(f"{target.plain}/")).json()
                assert headers_of(answer)["host"] == f"127.0.0.1:{target.ports[0]}"
                assert headers_of(answer)["x-api-key"] == key


async def test_a_key_for_one_port_of_this_machine_goes_to_no_other(
    tmp_path: Path, endpoint: Endpoint, certificate: Path
) -> None:
    async with serving(certificate) as other, client(tmp_path, keyed(endpoint)) as session:
        assert (await session.get(f"{other.plain}/")).status == 403
        assert not other.connections


async def test_tls_is_made_and_checked(
    tmp_path: Path, endpoint: Endpoint, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(rules=rules("localhost", Authorization=f"Bearer {KEY}"))
    async with client(tmp_path, network) as session:
        refused = await session.get(f"{endpoint.secure}/")
        assert refused.status == 502
        assert "certificate" in (await refused.json())["error"]["message"]
        context = egress.trust()
        context.load_verify_locations(certificate)
        try:
            answer = await (await session.get(f"{endpoint.secure}/v1/models")).json()
        finally:
            egress.trust.cache_clear()
    assert headers_of(answer)["authorization"] == f"Bearer {KEY}"


async def test_events_stream_as_they_come(tmp_path: Path, endpoint: Endpoint) -> None:
    async with client(tmp_path, keyed(endpoint)) as session, asyncio.timeout(PATIENCE):
        answer = await session.get(f"{endpoint.plain}/stream")
        seen = [await answer.content.readline() for _ in range(6)]
        answer.close()
    assert [line.split()[:2] for line in seen if line.strip()] == [[b"data:", b"0"], [b"data:", b"1"], [b"data:", b"2"]]


async def test_an_endpoint_hears_at_once_that_its_client_has_gone(tmp_path: Path, endpoint: Endpoint) -> None:
    async with client(tmp_path, keyed(endpoint)) as session, asyncio.timeout(PATIENCE):
        answer = await session.get(f"{endpoint.plain}/stream?pause=30")
        await answer.content.readline()
        answer.close()
        await endpoint.left.wait()


async def test_websockets_pass(tmp_path: Path, endpoint: Endpoint) -> None:
    async with (
        client(tmp_path, keyed(endpoint)) as session,
        asyncio.timeout(PATIENCE),
        session.ws_connect(f"{endpoint.plain}/socket", headers={"X-Api-Key": "placeholder"}) as socket,
    ):
        assert await socket.receive_str() == KEY
        await socket.send_str("GET / HTTP/1.1\r\n\r\n")
        assert await socket.receive_str() == "GET / HTTP/1.1\r\n\r\n"


async def test_a_refused_upgrade_leaves_http_behind(tmp_path: Path, endpoint: Endpoint) -> None:
    wish = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with client(tmp_path, keyed(endpoint)) as session, asyncio.timeout(PATIENCE):
        refused = await session.get(f"{endpoint.plain}/no-socket", headers=wish)
        assert (refused.status, await refused.text()) == (404, "none here")
        answer = await (await session.get(f"{endpoint.plain}/after")).json()
    assert (answer["path"], headers_of(answer)["x-api-key"]) == ("/after", KEY)


REQUESTS = (
    "POST {0}/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
    "POST {0}/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3;e=1\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: 1\r\n\r\n"
    "GET {0}/c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_requests_are_understood_however_they_are_cut(tmp_path: Path, endpoint: Endpoint, size: int) -> None:
    data = REQUESTS.format(endpoint.plain).encode()
    async with opened(tmp_path, keyed(endpoint)), asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "gateway.sock"))
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
            await asyncio.sleep(0)
        said = (await reader.read()).decode()
        writer.close()
    bodies = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [(one["path"], one["body"]) for one in bodies] == [("/a", "body"), ("/b", "abc0123456789abcdef"), ("/c", "")]
    assert all(headers_of(one)["x-api-key"] == KEY for one in bodies)


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("/", 400, "ask for /https/HOST:PORT/PATH"),
        ("/ftp/x:1/", 400, "ask for"),
        ("/http/user:pw@127.0.0.1:1/", 400, "ask for"),
        ("/http/127.0.0.1:99999/", 400, "does not understand"),
        ("/http/10.1.2.3:80/", 403, "private or reserved"),
        ("/http/127.0.0.1:1/", 403, "no model endpoint of this sandbox"),
        ("/https/no-such-name.invalid/", 502, "cannot be reached"),
    ],
)
async def test_a_refusal_says_why_in_json(
    tmp_path: Path, endpoint: Endpoint, target: str, status: int, words: str
) -> None:
    async with client(tmp_path, keyed(endpoint)) as session:
        refused = await session.post(target, data=io.BytesIO(b"x" * 2_000_000))
        assert refused.status == status
        assert words in (await refused.json())["error"]["message"]


async def test_an_endpoint_that_hangs_up_or_is_away_is_told_of(tmp_path: Path, endpoint: Endpoint) -> None:
    async with client(tmp_path, keyed(endpoint)) as session:
        refused = await session.get(f"{endpoint.plain}/hang-up")
        assert (refused.status, (await refused.json())["error"]["message"]) == (
            502,
            f"127.0.0.1:{endpoint.ports[0]} ended the connection without an answer.",
        )
    async with client(tmp_path, Network(allow_out=["127.0.0.1"])) as session:
        refused = await session.get("/http/127.0.0.1:1/")
        assert (refused.status, "127.0.0.1:1 cannot be reached" in await refused.text()) == (502, True)


async def test_new_rules_hold_from_the_next_request_on(tmp_path: Path, endpoint: Endpoint) -> None:
    async with opened(tmp_path, keyed(endpoint)) as ways:
        connector = aiohttp.UnixConnector(str(tmp_path / "gateway.sock"), limit=1)
        async with aiohttp.ClientSession("http://gateway", connector=connector) as session:
            assert KEY in await (await session.get(f"{endpoint.plain}/")).text()
            ways.network = Network(rules=rules("127.0.0.1", x_api_key="another-key"))
            assert "another-key" in await (await session.get(f"{endpoint.plain}/")).text()
            ways.network = Network()
            assert (await session.get(f"{endpoint.plain}/")).status == 403


async def test_an_allowed_endpoint_without_a_rule_gets_what_the_agent_sends(tmp_path: Path, endpoint: Endpoint) -> None:
    async with client(tmp_path, Network(allow_out=["127.0.0.1/32"])) as session:
        answer = await (await session.get(f"{endpoint.plain}/", headers={"X-Api-Key": "mine"})).json()
    assert headers_of(answer)["x-api-key"] == "mine"


async def test_the_proxy_adds_the_same_headers_to_plain_requests(tmp_path: Path, endpoint: Endpoint) -> None:
    address = f"http://127.0.0.1:{endpoint.ports[0]}/x"
    request = f"GET {address} HTTP/1.1\r\nHost: x\r\nX-API-KEY: placeholder\r\n\r\n"
    async with opened(tmp_path, keyed(endpoint)), asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "egress.sock"))
        writer.write(request.encode())
        said = await reader.read()
        writer.close()
    assert headers_of(json.loads(said.partition(b"\r\n\r\n")[2]))["x-api-key"] == KEY


def test_a_key_never_travels_in_the_clear_over_public_networks() -> None:
    network = Network(rules=rules("api.example.com", x_api_key=KEY))
    one, here = parse_address("1.1.1.1"), parse_address("10.0.0.1")
    assert one
    assert here
    with pytest.raises(Denied, match="by https only"):
        require_privacy(network, "api.example.com", 80, [here, one])
    require_privacy(network, "api.example.com", 80, [here])
    require_privacy(Network(), "api.example.com", 80, [one])


@pytest.mark.parametrize(
    "wrong",
    [
        {"x.example": {}},
        {"x.example": ["y"]},
        {"x.example": [{"transform": ["y"]}]},
        {"x.example": [{"transform": {"headers": {"x-api-key": 5}}}]},
        {"x.example": [{"transform": {"headers": {"x-api-key": "a\r\nHost: evil"}}}]},
        {"x.example": [{"transform": {"headers": {"x api": "a"}}}]},
    ],
)
def test_rules_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        read_network({"rules": wrong})
    assert refusal.value.code == 400


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@given(CHUNKS, st.binary(max_size=20), st.lists(st.integers(1, 9), max_size=40))
@with_settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_body_ends_where_it_ends(chunks: list[bytes], after: bytes, cuts: list[int]) -> None:
    coded = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"
    body, data, seen = Body(Head("POST", "/", [("Transfer-Encoding", "chunked")])), coded + after, 0
    while not body.done:
        size = cuts.pop() if cuts else len(data)
        taken = body.take(data[seen : seen + size])
        assert taken == min(size, len(coded) - seen)
        seen += taken
    assert data[seen:] == after


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "-1")],
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "gzip")],
    ],
)
def test_a_body_of_unclear_length_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(BadHead):
        Body(Head("POST", "/", headers))


def test_programs_in_a_sandbox_use_a_key_that_it_does_not_hold(host: HostProcess, outside: int) -> None:
    network = {"allow_out": ["127.0.0.1"], "rules": rules(f"127.0.0.1:{outside}", x_api_key=KEY)}
    made = host.create(network=network)
    url = f"$CODECOURIER_GATEWAY/http/127.0.0.1:{outside}/"
    answer = made.commands.run(f"curl -sS -H 'X-Api-Key: placeholder' {url}").stdout
    assert f"x-api-key: {KEY}" in answer
    assert f"Host: 127.0.0.1:{outside}" in answer
    assert "placeholder" not in answer
    seen = made.commands.run(
        "env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; grep -rs . /run /tmp ~; true"
    ).stdout
    assert KEY not in seen
    made.update_network({"allow_out": ["127.0.0.1"], "rules": rules("127.0.0.1", x_api_key="the-second-key")})
    assert "the-second-key" in made.commands.run(f"curl -sS {url}").stdout
    made.kill()
