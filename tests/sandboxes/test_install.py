"""The agents' programs, by the real npm from a registry of the tests' own."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from codecourier import npm
from sandboxes import tools
from sandboxes.agents import AGENTS
from sandboxes.agents.base import Package
from sandboxes.tools import InstallError, Place, fetch
from tests import registry as registries
from tests.registry import Registry
from tests.stack import free_port, wait_for

GREETER = Package(
    npm="@tests/greeter", version="1.2.3", programs={"greet": "@tests/greeter/bin/greet.exe"}, says=r"greeter 1\.2\.3"
)
SPEAKER = Package(
    npm="speaker", version="0.4.0", programs={"speak": "speaker/dist/cli.js"}, says=r"speaker 0\.4\.0", pack=True
)
SCRIPT = "#!/bin/sh\necho greeter {version}\n"
# Like the real ones: the package has a placeholder, its own last step puts this machine's build in its place.
PLACEHOLDER = "#!/bin/sh\necho not set up >&2\nexit 1\n"
LINK = "ln -f ../../greeter-this/greet bin/greet.exe && env > said-environment"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry that npm is told to use, with a cache of its own and settings that would get in the way."""
    with registries.serving() as served:
        settings = {"registry": served.url, "cache": str(tmp_path / "cache"), "fetch_retries": "0"}
        for name, value in (settings | {"ignore_scripts": "true", "engine_strict": "true"}).items():
            monkeypatch.setenv(f"npm_config_{name}", value)
        monkeypatch.setenv("SECRET_KEY", "hush-hush")
        yield served


@pytest.fixture
def greeter(registry: Registry) -> Registry:
    """Two versions of a package in the manner of Claude Code and OpenCode."""
    builds = {"greeter-this": "1.2.3", "greeter-other": "1.2.3"}
    for name in builds:
        registry.add(name, "1.2.3", {"greet": SCRIPT.format(version="1.2.3")})
    registry.add(GREETER.npm, "1.0.0", {"bin/greet.exe": SCRIPT.format(version="1.0.0")})
    registry.add(
        GREETER.npm, "1.2.3", {"bin/greet.exe": PLACEHOLDER},
        engines={"node": ">=99"}, optionalDependencies=builds, scripts={"postinstall": LINK},
    )  # fmt: skip
    return registry


def said(program: Path) -> str:
    """What a program prints, run as in a sandbox: with our Node on the PATH."""
    path = f"{npm.node_folder()}:{os.environ['PATH']}"
    return subprocess.run([program], env={"PATH": path}, capture_output=True, text=True, check=True).stdout.strip()


def left(root: Path) -> set[str]:
    """What lies in the tools' folder."""
    return {path.name for path in root.iterdir()}


def test_the_pinned_version_comes_whatever_npm_is_set_to_and_whatever_node_it_asks_for(
    greeter: Registry, tmp_path: Path
) -> None:
    place, lines = Place(tmp_path / "tools", "greeter", GREETER), list[str]()
    assert tools.install(place, lines.append)
    link = tmp_path / "greet"
    link.symlink_to(place.folder / "bin" / "greet")
    assert said(link) == "greeter 1.2.3"
    assert left(place.root) == {"greeter-1.2.3", ".greeter-1.2.3.lock"}
    assert not list(place.folder.glob("node_modules/greeter-*")), "builds that are linked or not needed take room"
    assert lines[0] == "Installing @tests/greeter 1.2.3"
    assert lines[-1] == "greeter says greeter 1.2.3"
    seen = (place.folder / "node_modules" / GREETER.npm / "said-environment").read_text()
    assert "PATH=" in seen
    assert "hush-hush" not in seen


def test_of_two_at_once_one_installs_and_the_other_waits(greeter: Registry, tmp_path: Path) -> None:
    place = Place(tmp_path / "tools", "greeter", GREETER)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: tools.install(place, lambda _: None), range(2)))
    assert sorted(made) == [False, True]
    assert len(greeter.fetched) == len(set(greeter.fetched))


def test_what_a_dead_installer_left_is_cleared_away(greeter: Registry, tmp_path: Path) -> None:
    place = Place(tmp_path / "tools", "greeter", GREETER)
    (place.beside("new") / "node_modules" / GREETER.npm).mkdir(parents=True)
    tools.install(place, lambda _: None)
    assert said(place.folder / "bin" / "greet") == "greeter 1.2.3"
    assert not place.beside("new").exists()


def test_a_program_that_says_another_version_is_not_kept(registry: Registry, tmp_path: Path) -> None:
    registry.add(GREETER.npm, "1.2.3", {"bin/greet.exe": SCRIPT.format(version="1.2.4")})
    place = Place(tmp_path / "tools", "greeter", GREETER)
    with pytest.raises(InstallError, match=r"asked for its version, 1\.2\.3, it said 'greeter 1\.2\.4'"):
        tools.install(place, lambda _: None)
    assert left(place.root) == {".greeter-1.2.3.lock", ".greeter-1.2.3.failed"}


def test_a_package_that_brings_its_own_bundle_is_unpacked_and_run_by_node(registry: Registry, tmp_path: Path) -> None:
    cli = "console.log(`speaker 0.4.0${process.argv.includes('--version') ? '' : ' at your service'}`)"
    registry.add(
        SPEAKER.npm, "0.4.0", {"dist/cli.js": cli}, dependencies={"not-in-this-registry": "9.9.9"}, type="module"
    )
    place = Place(tmp_path / "tools", "speaker", SPEAKER)
    tools.install(place, lambda _: None)
    assert said(place.folder / "bin" / "speak") == "speaker 0.4.0 at your service"


def test_a_version_that_the_registry_lacks_is_named(registry: Registry, tmp_path: Path) -> None:
    registry.add(GREETER.npm, "1.0.0", {"bin/greet.exe": SCRIPT.format(version="1.0.0")})
    with pytest.raises(
        InstallError, match=r"@tests/greeter 1\.2\.3 could not be fetched: .* does not have this version"
    ):
        tools.install(Place(tmp_path / "tools", "greeter", GREETER), lambda _: None)


def test_a_registry_out_of_reach_is_named(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(InstallError, match="the npm registry can't be reached"):
        tools.install(Place(tmp_path / "tools", "greeter", GREETER), lambda _: None)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "tools").write_text("a file")
    with pytest.raises(InstallError, match="can't be written"):
        tools.install(Place(tmp_path / "tools", "greeter", GREETER), lambda _: None)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("npm error code ENOSPC", "the disk is full"),
        ("npm error code E401", "refused us"),
        ("npm error code EACCES", "may not write"),
        ("npm error something else broke", "npm said: npm error something else broke"),
    ],
)
def test_what_npm_says_becomes_what_to_do(line: str, words: str) -> None:
    assert words in fetch.advice(f"npm http fetch GET 200\n{line}\n")


def test_a_boot_begins_an_installation_and_sees_how_far_it_is(registry: Registry, tmp_path: Path) -> None:
    package = AGENTS["claude"].package
    assert package
    registry.add(
        package.npm, package.version, {"bin/claude.exe": f"#!/bin/sh\necho '{package.version} (Claude Code)'\n"}
    )
    place, since = Place(tmp_path / "tools", "claude", package), datetime.now(UTC)
    first = tools.progress(place, since)
    assert not first.done
    wait_for(lambda: tools.progress(place, since).done, "the installation")
    assert f"Installing {package.npm}" in tools.progress(place, since).log
    assert len(registry.fetched) == 1


def test_a_boot_is_told_once_why_there_will_be_no_program(registry: Registry, tmp_path: Path) -> None:
    package = AGENTS["claude"].package
    assert package
    place, since = Place(tmp_path / "tools", "claude", package), datetime.now(UTC)
    said = wait_for(lambda: tools.progress(place, since).failed, "the failure")
    assert "does not have this version" in said
    old = (since - timedelta(hours=1)).timestamp()
    os.utime(place.beside("failed"), (old, old))
    assert not tools.progress(place, since).failed, "a later boot tries again"
    wait_for(lambda: tools.progress(place, since).failed, "the second failure")
