"""A project's settings: who sees them, what is kept of a secret, and what a bad value is answered with."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from codecourier import audit, registries
from codecourier.models import AuditEntry, Endpoint, Project, ProviderKey, User, Variable
from tests.conftest import person, signed_in
from tests.serving import Quiet, serving

CANARY = "sk-canary-0123456789"


def repository_at(path: Path) -> Path:
    """A repository with one commit on `main`."""
    for words in (
        ["init", "-q", "-b", "main", str(path)],
        ["-C", str(path), "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "One"],
    ):
        subprocess.run(["git", *words], check=True)
    return path


@pytest.fixture
def admin_client(project: Project, owner: User) -> Client:
    return signed_in(person("adam@example.com", project, "admin"))


def at(name: str, *args: object) -> str:
    return reverse(name, args=["rocket", *args])


def texts(client: Client) -> str:
    """Every tab of the settings and every other place that tells of them."""
    pages = [at("settings-tab", tab) for tab in ("general", "agents", "machines", "keys", "variables", "history")]
    seen = [client.get(page).content.decode() for page in pages]
    return "".join(seen) + str(list(AuditEntry.objects.values()))


def test_members_see_no_settings_and_strangers_no_project(member_client: Client, stranger_client: Client):
    for tab in ("general", "agents", "machines", "keys", "variables", "history", "end"):
        assert member_client.get(at("settings-tab", tab)).status_code == 404
        assert stranger_client.get(at("settings-tab", tab)).status_code == 404
    assert member_client.post(at("key-set"), {"provider": "openai", "secret": CANARY}).status_code == 404
    assert not ProviderKey.objects.exists()


def test_the_end_of_a_project_is_its_owners_only(admin_client: Client, owner: User):
    assert admin_client.get(at("settings-tab", "end")).status_code == 404
    assert b"Transfer and delete" not in admin_client.get(at("settings")).content
    assert b"Transfer and delete" in signed_in(owner).get(at("settings")).content


def test_texts_are_saved_tab_by_tab_and_noted(admin_client: Client, project: Project):
    data = {"system_prompt": "Be brief.", "instructions": "Use tabs."}
    admin_client.post(at("settings-tab", "agents"), data)
    admin_client.post(at("settings-tab", "machines"), {"git_name": "Bot", "git_email": "bot@example.com"})
    project.refresh_from_db()
    assert (project.system_prompt, project.git_name) == ("Be brief.", "Bot")
    assert {"fields": ["instructions", "system_prompt"]} in AuditEntry.objects.values_list("data", flat=True)
    bad = admin_client.post(at("settings-tab", "machines"), {"git_name": "Bot", "git_email": "nobody"})
    assert (bad.status_code, b'value="nobody"' in bad.content) == (422, True)


def test_a_repository_is_asked_before_it_is_saved(admin_client: Client, project: Project, tmp_path: Path):
    path = repository_at(tmp_path / "there")
    good = {"name": "Rocket", "repository_url": str(path), "default_branch": "main"}
    admin_client.post(at("settings-tab", "general"), good)
    project.refresh_from_db()
    assert project.repository_url == str(path)
    page = admin_client.post(at("settings-tab", "general"), {**good, "default_branch": "nowhere"})
    assert "The repository has no branch nowhere." in page.content.decode()
    (tmp_path / "empty").mkdir()
    page = admin_client.post(at("settings-tab", "general"), {**good, "repository_url": str(tmp_path / "empty")})
    assert "There is no repository at this address" in page.content.decode()
    project.refresh_from_db()
    assert (project.repository_url, project.default_branch) == (str(path), "main")


def test_a_key_goes_in_and_never_comes_out(admin_client: Client, project: Project):
    page = admin_client.post(at("key-set"), {"provider": "anthropic", "secret": CANARY}, follow=True)
    assert "…6789" in page.content.decode()
    key = ProviderKey.objects.get()
    assert (key.secret, key.set_by.email if key.set_by else "") == (CANARY, "adam@example.com")
    assert CANARY not in page.content.decode() + texts(admin_client)
    admin_client.post(at("key-set"), {"provider": "anthropic", "secret": CANARY[::-1]})
    assert ProviderKey.objects.get().secret == CANARY[::-1]
    page = admin_client.post(at("key-set"), {"provider": "anthropic", "secret": "abc"}, follow=True)
    assert "Too short to be told apart" in page.content.decode()
    admin_client.post(at("key-change", ProviderKey.objects.get().pk), {"verb": "remove"})
    assert not ProviderKey.objects.exists()


class Provider(Quiet):
    """Takes one key."""

    def do_GET(self) -> None:
        self.send_json({"data": []}, 200 if self.headers["x-api-key"] == CANARY else 401)


@pytest.fixture
def vendor() -> Iterator[str]:
    with serving(Provider) as url:
        yield url


@pytest.mark.parametrize(
    ("secret", "says"),
    [(CANARY, "Anthropic takes the key."), ("sk-other-0123", "Anthropic refused the key.")],
)
def test_a_key_is_tried_when_asked(admin_client: Client, project: Project, vendor: str, secret: str, says: str):
    Endpoint.objects.create(project=project, provider="anthropic", base_url=vendor)
    key = ProviderKey.objects.create(project=project, provider="anthropic", secret=secret)
    page = admin_client.post(at("key-change", key.pk), {"verb": "test"}, follow=True)
    assert says in page.content.decode()


def test_variables_are_set_pasted_and_removed(admin_client: Client, project: Project):
    admin_client.post(at("variable-set"), {"name": "API_TOKEN", "value": CANARY, "secret": "on"})
    pasted = f"# mine\nexport A=1 # one\nB='two words'\nC=\"x\\ny\"\nDB_PASSWORD={CANARY[::-1]}\n\n"
    page = admin_client.post(at("variables-paste"), {"text": pasted}, follow=True)
    assert "Stored: A, B, C, DB_PASSWORD." in page.content.decode()
    found = {variable.name: (variable.value, variable.secret) for variable in Variable.objects.all()}
    assert found == {
        "A": ("1", False), "B": ("two words", False), "C": ("x\ny", False), "API_TOKEN": (CANARY, True),
        "DB_PASSWORD": (CANARY[::-1], True),
    }  # fmt: skip
    assert CANARY not in texts(admin_client)
    assert CANARY[::-1] not in texts(admin_client)
    admin_client.post(at("variable-drop", Variable.objects.get(name="A").pk))
    assert not Variable.objects.filter(name="A").exists()


@pytest.mark.parametrize("text", ["", "nonsense", "A=1\n2B=3", "A=1\n=x"])
def test_a_paste_that_is_not_understood_changes_nothing(admin_client: Client, project: Project, text: str):
    admin_client.post(at("variables-paste"), {"text": text})
    assert not Variable.objects.exists()


def test_a_project_is_deleted_by_its_name(project: Project, owner: User):
    browser = signed_in(owner)
    browser.post(at("project-delete"), {"name": "rocket"})
    assert Project.objects.filter(pk=project.pk).exists()
    assert browser.post(at("project-delete"), {"name": "Rocket"})["Location"] == "/projects/"
    assert not Project.objects.filter(pk=project.pk).exists()
    assert AuditEntry.objects.filter(action="project.deleted", subject__contains="Rocket").exists()


def test_a_project_with_work_is_not_deleted_yet(project: Project, owner: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registries, "holds", [lambda project: "2 sandboxes are being stopped."])
    page = signed_in(owner).post(at("project-delete"), {"name": "Rocket"}, follow=True)
    assert "2 sandboxes are being stopped." in page.content.decode()
    assert Project.objects.filter(pk=project.pk).exists()


def test_the_history_is_searched_and_turned(admin_client: Client, project: Project, owner: User) -> None:
    audit.note(owner, "key.set", project, provider="openai")
    for number in range(60):
        audit.note(None, "variable.set", project, name=f"N{number}")
    first = texts_of(admin_client, "history")
    assert "N59" in first
    assert "N9<" not in first
    assert "N9<" in texts_of(admin_client, "history", page="2")
    found = texts_of(admin_client, "history", q="KEY.")
    assert "openai" in found
    assert "N59" not in found
    assert "key.set" in texts_of(admin_client, "history", q=owner.email)
    assert "Nothing fits “zebra”." in texts_of(admin_client, "history", q="zebra")


def texts_of(client: Client, tab: str, **asked: str) -> str:
    return client.get(at("settings-tab", tab), asked).content.decode()
