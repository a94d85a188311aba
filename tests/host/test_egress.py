"""The way out of a sandbox: what the proxy lets pass, and what it says otherwise."""

import ipaddress
from typing import Any

import pytest

from sandboxes.host.policy import Denied, Opening, is_public, judge
from sandboxes.host.record import Network
from sandboxes.host.settings import HostError
from tests.host.hosts import HostProcess

PRIVATE = (
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::",
)  # fmt: skip
ONE = ipaddress.ip_address("1.1.1.1")


def fetch(sandbox: Any, url: str, *options: str) -> str:
    """Body and errors of curl, also towards loopback, which the proxy variables exempt."""
    words = " ".join(options)
    return str(sandbox.commands.run(f"curl -sS -m 10 --noproxy '' -x $http_proxy {words} {url} 2>&1 || true").stdout)


def test_a_listed_address_is_reached_in_both_forms(sandbox: Any, outside: int) -> None:
    assert "hello from outside" in fetch(sandbox, f"http://127.0.0.1:{outside}/x")
    assert "hello from outside" in fetch(sandbox, f"http://127.0.0.1:{outside}/x", "--proxytunnel")


def test_the_proxys_own_headers_stay_behind(sandbox: Any, outside: int) -> None:
    answer = fetch(
        sandbox, f"http://127.0.0.1:{outside}/", "-H 'Proxy-Authorization: Basic eDp5'", "-H 'X-Mine: kept'"
    ).lower()
    assert "x-mine: kept" in answer
    assert "proxy" not in answer


def test_the_proxy_variables_reach_programs(sandbox: Any) -> None:
    assert sandbox.commands.run("echo $https_proxy $HTTP_PROXY $no_proxy").stdout.split()[0] == "http://127.0.0.1:3128"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:22/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://localhost:22/",
    ],
)
def test_private_addresses_are_refused_with_a_sentence(sandbox: Any, url: str) -> None:
    assert "loopback, private or reserved address" in fetch(sandbox, url, "-g")


def test_nothing_but_the_proxy_leads_out(sandbox: Any) -> None:
    answer = sandbox.commands.run("curl -sS -m 5 --noproxy '*' http://1.1.1.1/ 2>&1 || true").stdout
    assert "Couldn't connect" in answer or "unreachable" in answer.lower()


def test_no_internet_access_means_none_but_what_is_allowed(host: HostProcess, outside: int) -> None:
    made = host.create(allow_internet_access=False)
    assert "without internet access" in fetch(made, f"http://127.0.0.1:{outside}/")
    made.update_network({"allow_internet_access": False, "allow_out": ["127.0.0.1"]})
    assert "hello from outside" in fetch(made, f"http://127.0.0.1:{outside}/")
    made.kill()


def test_an_update_replaces_all_rules(host: HostProcess, outside: int) -> None:
    made = host.create(network={"deny_out": ["127.0.0.0/8"]})
    url = f"http://127.0.0.1:{outside}/"
    assert "refused by this sandbox's network rules" in fetch(made, url)
    made.update_network({"deny_out": ["127.0.0.0/8"], "allow_out": ["127.0.0.1/32"]})
    assert "hello from outside" in fetch(made, url)
    made.update_network({"deny_out": ["0.0.0.0/0"]})
    assert "refused by this sandbox's network rules" in fetch(made, url)
    made.update_network({})
    assert "hello from outside" in fetch(made, url)
    made.kill()


def test_what_is_no_proxy_request_is_told_so(sandbox: Any) -> None:
    assert "does not understand" in sandbox.commands.run("curl -sS --noproxy '*' http://127.0.0.1:3128/").stdout
    assert "cannot be reached" in fetch(sandbox, "http://no-such-name.invalid/")


@pytest.mark.parametrize("text", PRIVATE)
def test_these_addresses_are_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_these_addresses_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def test_allow_wins_over_deny() -> None:
    network = Network(allow_out=["*.example.com", "example.org"], deny_out=["0.0.0.0/0"])
    judge(network, (), "a.b.example.com", 443, ONE)
    judge(network, (), "example.org", 443, ONE)
    for host in ("example.com", "badexample.com", "www.example.org"):
        with pytest.raises(Denied):
            judge(network, (), host, 443, ONE)


def test_an_allowed_name_does_not_open_a_private_address() -> None:
    rebound = Network(allow_out=["example.com", "10.0.0.0/8"])
    with pytest.raises(Denied):
        judge(rebound, (), "example.com", 443, ipaddress.ip_address("10.0.0.1"))
    judge(rebound, (Opening.parse("10.0.0.0/24:443"),), "example.com", 443, ipaddress.ip_address("10.0.0.1"))


def test_openings_are_one_port_or_all() -> None:
    private = ipaddress.ip_address("192.168.1.5")
    git = Opening.parse("git.internal:22")
    assert git.covers("git.internal", private, 22)
    assert not git.covers("git.internal", private, 23)
    assert Opening.parse("192.168.0.0/16").covers("x", private, 9)
    assert Opening.parse("[::1]:80").covers("x", ipaddress.ip_address("::1"), 80)
    with pytest.raises(HostError):
        Opening.parse("host:http")
