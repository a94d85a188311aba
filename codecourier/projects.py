"""Settings of a project, keys and variables; the end of a project. Each change is in the audit log, no value ever."""

import re
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from . import audit, registries
from .models import Project, ProviderKey, User, Variable

LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$")
TELLING = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE|DSN|_URL$", re.IGNORECASE)


def set_key(project: Project | None, by: User, provider: str, secret: str, origin: str = "") -> ProviderKey:
    """Store a credential in place of an older one. ValidationError for one that could not be used or hidden."""
    key = ProviderKey.objects.filter(project=project, provider=provider).first()
    key = key or ProviderKey(project=project, provider=provider)
    key.secret, key.set_by, key.set_at = secret.strip(), by, timezone.now()
    key.origin = origin.strip().rstrip("/").lower()
    key.full_clean()
    with transaction.atomic():
        key.save()
        audit.note(by, "key.set", key)
    return key


def drop_key(key: ProviderKey, by: User) -> None:
    """Forget a credential."""
    with transaction.atomic():
        audit.note(by, "key.removed", key)
        key.delete()


def set_variable(project: Project, by: User, name: str, value: str, secret: bool) -> Variable:
    """Store a variable in place of an older one of that name. ValidationError for one no process could be given."""
    variable = Variable.objects.filter(project=project, name=name).first() or Variable(project=project, name=name)
    variable.value, variable.secret = value, secret
    variable.full_clean()
    with transaction.atomic():
        variable.save()
        audit.note(by, "variable.set", variable, secret=secret)
    return variable


def paste(project: Project, by: User, text: str) -> list[str]:
    """Variables from the text of a `.env` file; the names. ValidationError names the line that isn't understood.

    What looks like a credential by its name is stored as secret. All or nothing.
    """
    found = dict(parsed(text))
    if not found:
        raise ValidationError("There is no line like NAME=value in this text.")
    with transaction.atomic():
        for name, value in found.items():
            try:
                set_variable(project, by, name, value, is_telling(name, value))
            except ValidationError as error:
                raise ValidationError(f"{name}: {' '.join(error.messages)}") from error
    return list(found)


def is_telling(name: str, value: str) -> bool:
    """Whether a variable should be hidden, judged by its name; what is too short to be hidden isn't."""
    return bool(TELLING.search(name)) and len(value) >= 6


def parsed(text: str) -> list[tuple[str, str]]:
    """(name, value) of each line; comments and empty lines are left out."""
    found = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.match(line)
        if not match:
            raise ValidationError(f"Line {number} is not like NAME=value.")
        found.append((match[1], unquoted(match[2].strip())))
    return found


def unquoted(value: str) -> str:
    """A value without its quotes; in double ones backslashes escape. A comment may follow an unquoted value."""
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        escapes = {"n": "\n", "r": "\r", "t": "\t"}
        return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), value[1:-1])
    return re.split(r"\s+#", value, maxsplit=1)[0].strip()


def drop_variable(variable: Variable, by: User) -> None:
    """Forget a variable."""
    with transaction.atomic():
        audit.note(by, "variable.removed", variable)
        variable.delete()


def alive(project: Project) -> int:
    """What still runs in a project: it has to end before the project can."""
    return sum(count(project) for count in registries.running)


def delete(project: Project, by: User, typed: str) -> None:
    """End a project and everything in it. ValidationError unless its name was typed and nothing holds it any more."""
    if typed.strip() != project.name:
        raise ValidationError("Type the project's name as it is written to delete it.")
    for hold in registries.holds:
        if sentence := hold(project):
            raise ValidationError(sentence)
    with transaction.atomic():
        audit.note(by, "project.deleted", project)
        project.delete()


def changed(form: Any, project: Project, by: User) -> None:
    """Save a form of settings and note which of them changed."""
    with transaction.atomic():
        form.save()
        audit.note(by, "settings.changed", project, fields=sorted(form.changed_data))
