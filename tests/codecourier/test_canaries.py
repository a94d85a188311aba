"""Secrets stay where they are encrypted: not one page, form, log line, task, row or error page has them in clear."""

import logging
from collections.abc import Iterator

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.urls import NoReverseMatch, reverse

from codecourier.models import Project, ProviderKey, User, Variable
from sandboxes.models import Job, Sandbox, Template, Turn
from tests.codecourier.test_access import ADDRESSES
from tests.codecourier.walking import filled
from tests.conftest import signed_in

VALUE, KEY, SHARED, FACTOR = "canary-value-71", "sk-canary-key-72", "sk-canary-shared-73", "CANARYFACTOR74AA"
CANARIES = (VALUE, KEY, SHARED, FACTOR)


@pytest.fixture
def boss(project: Project, owner: User) -> User:
    """An administrator with a second factor."""
    made = User.objects.create_superuser("boss@example.com", "open sesame")
    totp.TOTP.activate(made, FACTOR)
    return made


@pytest.fixture
def planted(project: Project, boss: User, template: Template) -> Sandbox:
    """Secrets that came in by the front door, and a sandbox whose machine would get them."""
    browser = signed_in(boss)
    browser.post(reverse("key-set", args=["rocket"]), {"provider": "anthropic", "secret": KEY})
    browser.post(reverse("variable-set", args=["rocket"]), {"name": "TOKEN", "value": VALUE, "secret": "on"})
    shared = {"provider": "openai", "secret": SHARED}
    browser.post(reverse("admin:codecourier_providerkey_add"), shared)
    assert ProviderKey.objects.count() == 2
    assert Variable.objects.get().value == VALUE
    form = {"template": template.pk, "prompt": "echo one", "cpu": 2, "memory_mb": 1024, "timeout_minutes": 60,
            "idle_minutes": 15}  # fmt: skip
    answer = browser.post(reverse("sandboxes:new", args=["rocket"]), form)
    assert answer.status_code == 302, answer.content
    sandbox = Sandbox.objects.get()
    job = Job.objects.create(sandbox=sandbox, kind=Job.Kind.TURN, status=Job.Status.EXITED)
    Turn.objects.update(job=job)
    return sandbox


def assert_clean(text: str, where: str) -> None:
    found = [canary for canary in CANARIES if canary in text]
    assert not found, f"{found} in {where}"


def rows() -> Iterator[tuple[str, str]]:
    """(table, all its rows as text) of the whole database."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT coalesce(string_agg(entry::text, chr(10)), '') FROM \"{table}\" AS entry")
            yield table, cursor.fetchone()[0]


def admin_pages() -> Iterator[str]:
    """Lists and forms of every row in the administration."""
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        try:
            yield reverse(f"{name}_changelist")
        except NoReverseMatch:
            continue
        yield from (
            reverse(f"{name}_change", args=[pk]) for pk in model._default_manager.values_list("pk", flat=True)[:3]
        )


def test_no_page_shows_a_secret(planted: Sandbox, boss: User, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    browser = signed_in(boss)
    for name in sorted(ADDRESSES):
        path = filled(ADDRESSES[name], planted)
        answer = browser.get(path)
        if not getattr(answer, "is_async", False):
            assert_clean(answer.getvalue().decode(errors="replace"), path)
    for tab in ("keys", "variables", "history"):
        assert_clean(browser.get(reverse("settings-tab", args=["rocket", tab])).content.decode(), tab)
    assert_clean(caplog.text, "the log")


def test_no_page_of_the_administration_shows_a_secret(planted: Sandbox, boss: User):
    browser = signed_in(boss)
    for path in admin_pages():
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert_clean(answer.content.decode(), path)


def test_no_table_holds_a_secret_in_clear(planted: Sandbox):
    tables = dict(rows())
    assert "echo one" in tables["sandboxes_turn"]
    assert len(tables) >= len(apps.get_models(include_auto_created=True)) - 2
    for table, text in tables.items():
        assert_clean(text, table)
        assert_clean(text.encode().decode("unicode_escape", errors="ignore"), f"{table}, unescaped")


def test_no_error_page_or_log_line_shows_a_secret(
    planted: Sandbox, boss: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("codecourier.projects.set_key", fail)
    browser = Client(raise_request_exception=False)
    browser.force_login(boss)
    answer = browser.post(reverse("key-set", args=["rocket"]), {"provider": "e2b", "secret": KEY})
    assert answer.status_code == 500
    assert_clean(answer.content.decode(), "the error page")
    assert "on purpose" in caplog.text
    assert_clean(caplog.text, "the log")
