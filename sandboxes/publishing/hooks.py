"""What GitHub tells by webhook: which pull request moved. It is then asked itself; a payload is never believed."""

import json
import secrets
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from codecourier import audit, github, remotes
from codecourier.models import Project, User
from sandboxes.models import Delivery, PublishingSettings, PullRequest

from .pulls import poke

# GitHub sends nothing that is larger (https://docs.github.com/webhooks/webhook-events-and-payloads).
MOST_BYTES = 25 * 2**20
# Redelivery is offered for three days; a delivery that is replayed later only has the state asked for once more.
KEPT = timedelta(days=30)


class Refused(Exception):
    """This is no delivery of the project's; the sentence says why."""


def renew(project: Project, user: User) -> str:
    """A new secret, told this once; deliveries signed with the old one are refused from now on."""
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        settings = PublishingSettings.of(project)
        settings.webhook_secret = secret
        settings.save()
        audit.note(user, "webhook.renewed", settings)
    return secret


def take(project: Project, body: bytes, *, signature: str, delivery: str, event: str) -> int:
    """Have the pull requests that a delivery is about looked at; how many. Refused for what nobody signed."""
    if not github.signed(PublishingSettings.of(project).webhook_secret, body, signature):
        raise Refused("The signature is not that of the project's webhook secret.")
    if not delivery:
        raise Refused("The delivery has no number.")
    try:
        with transaction.atomic():
            Delivery.objects.create(project=project, number=delivery[:100], event=event[:60])
    except IntegrityError:
        return 0  # repeated: what it asked for is done
    rows = about(project, read(body))
    for row in rows:
        poke(row)
    return len(rows)


def read(body: bytes) -> dict[str, Any]:
    """The payload; Refused for what is none."""
    try:
        payload = json.loads(body)
    except ValueError as error:
        raise Refused("The delivery is no JSON. Choose application/json as its content type.") from error
    if not isinstance(payload, dict):
        raise Refused("The delivery is no JSON object.")
    return payload


def about(project: Project, payload: dict[str, Any]) -> list[PullRequest]:
    """The project's pull requests that a payload names, by number or by the commit that was checked."""
    origin, name = remotes.github_origin(project), str(_at(payload, "repository", "full_name")).lower()
    check = payload.get("check_run") or payload.get("check_suite") or {}
    numbers = [_at(payload, "pull_request", "number"), _at(payload, "issue", "number")]
    numbers += [_at(one, "number") for one in check.get("pull_requests") or [] if isinstance(one, dict)]
    commits = [_at(check, "head_sha"), _at(payload, "sha"), _at(payload, "after")]
    found = PullRequest.objects.filter(project=project).filter(
        Q(number__in=[number for number in numbers if isinstance(number, int)])
        | Q(number__isnull=False, pushed_commit__in=[commit for commit in commits if commit])
    )
    return [row for row in found if (github.slug_of(row.remote_url, origin) or "").lower() == name]


def _at(data: Any, *way: str) -> Any:
    for step in way:
        data = data.get(step) if isinstance(data, dict) else None
    return data or ""


def forget() -> None:
    """Numbers of deliveries that nobody repeats any more."""
    Delivery.objects.filter(at__lt=timezone.now() - KEPT).delete()
