"""Rotating the encryption key: whatever is encrypted at rest, written anew under the first of ENCRYPTION_KEYS."""

from collections.abc import Iterator
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.db import models, transaction

from . import crypto, registries
from .crypto import EncryptedField

# What allauth has our adapter encrypt inside its JSON.
FACTOR_FIELDS = ("secret", "seed")


def rotate() -> dict[str, int]:
    """Rows written anew, by table. Undecryptable (and nothing changed) when the key of one of them is missing."""
    with transaction.atomic():
        done = {f"{field.model._meta.label}.{field.name}": renew(field) for field in encrypted_fields()}
        done["mfa.Authenticator.data"] = renew_factors()
        for label, model, name in registries.sealed:
            done[label] = renew_sealed(model, name)
    return done


def encrypted_fields() -> Iterator[models.Field[Any, Any]]:
    """Every field of ours that is kept encrypted."""
    for model in apps.get_models():
        yield from (field for field in model._meta.local_fields if isinstance(field, EncryptedField))


def renew(field: models.Field[Any, Any]) -> int:
    """Read under any key, write under the first."""
    rows = field.model._default_manager.select_for_update().only("pk", field.name)
    count = 0
    for row in rows:
        count += field.model._default_manager.filter(pk=row.pk).update(**{field.name: getattr(row, field.name)})
    return count


def renew_sealed(model: type[models.Model], name: str) -> int:
    """The same for a plain column that an app encrypts by itself."""
    rows = model._default_manager.select_for_update().exclude(**{name: ""}).values_list("pk", name)
    return sum(
        model._default_manager.filter(pk=pk).update(**{name: crypto.encrypt(crypto.decrypt(text))}) for pk, text in rows
    )


def renew_factors() -> int:
    """Authenticator apps and recovery codes."""
    rows = list(Authenticator.objects.select_for_update())
    for row in rows:
        for name in FACTOR_FIELDS:
            if isinstance(row.data.get(name), str):
                row.data[name] = crypto.encrypt(crypto.decrypt(row.data[name]))
        row.save(update_fields=["data"])
    return len(rows)
