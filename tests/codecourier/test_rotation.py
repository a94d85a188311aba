"""Rotating the key: afterwards the new one alone opens everything, and a missing one changes nothing."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from codecourier import crypto
from codecourier.models import Project, ProviderKey, User, Variable
from sandboxes.models import Job, Template
from tests.sandboxes.relaying import running_sandbox

OLD, NEW = "the old key", "the new key"


@pytest.fixture
def secrets(project: Project, member: User, template: Template, settings: LazySettings) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    ProviderKey.objects.create(project=project, provider="openai", secret="sk-canary-0123")
    Variable.objects.create(project=project, name="A", value="value-of-a")
    Variable.objects.create(project=project, name="EMPTY", value="")
    totp.TOTP.activate(member, "JBSWY3DPEHPK3PXP")
    sandbox = running_sandbox(project, template)
    Job.objects.create(sandbox=sandbox, kind=Job.Kind.TURN, status="running", fold=crypto.encrypt("held"))


def opened() -> tuple[str, ...]:
    factor = Authenticator.objects.get()
    return (
        ProviderKey.objects.get().secret, *Variable.objects.values_list("value", flat=True),
        crypto.decrypt(Job.objects.get().fold), totp.TOTP(factor).instance.data["secret"][:0],
        crypto.decrypt(factor.data["secret"]),
    )  # fmt: skip


def test_everything_is_written_anew_under_the_first_key(secrets: None, settings: LazySettings):
    before = opened()
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    call_command("rotatekeys", verbosity=0)
    settings.ENCRYPTION_KEYS = [NEW]
    assert opened() == before
    settings.ENCRYPTION_KEYS = [OLD]
    with pytest.raises(crypto.Undecryptable):
        opened()


def test_without_the_old_key_nothing_is_changed(secrets: None, settings: LazySettings):
    settings.ENCRYPTION_KEYS = [NEW]
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("rotatekeys", verbosity=0)
    settings.ENCRYPTION_KEYS = [OLD]
    assert opened()
