"""What a pull request says: what was asked, what was done, what it cost, and where it came from. Redacted."""

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from codecourier.redact import Redactor
from sandboxes.agents import AGENTS
from sandboxes.bill import bill
from sandboxes.models import Event, PublishingSettings, Sandbox, Turn
from sandboxes.models.pull import fill

TITLE, ASKED, SUMMARY = 120, 4000, 12_000


def title_of(sandbox: Sandbox) -> str:
    """One line."""
    return _redactor(sandbox).redact_text(" ".join(str(sandbox).split()))[:TITLE]


def body_of(sandbox: Sandbox) -> str:
    """By the project's template."""
    link = f"{settings.BASE_URL}{reverse('sandboxes:detail', args=[sandbox.project.slug, sandbox.pk])}"
    values = {
        "title": title_of(sandbox),
        "asked": asked(sandbox),
        "summary": summary(sandbox),
        "cost": cost(sandbox),
        "link": link,
        "footer": f"---\nMade by {AGENTS[sandbox.tool].name} in [CodeCourier]({link}), {cost(sandbox)}.",
    }
    return _redactor(sandbox).redact_text(fill(PublishingSettings.of(sandbox.project).body, values)).strip()


def asked(sandbox: Sandbox) -> str:
    """Every message, as a quotation."""
    prompts = sandbox.turns.exclude(status=Turn.Status.QUEUED).values_list("prompt", flat=True)
    text = "\n\n".join(_short(prompt.strip(), ASKED) for prompt in prompts[:20])
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def summary(sandbox: Sandbox) -> str:
    """The agent's last word."""
    said = (
        Event.objects.filter(job__sandbox=sandbox, kind="text")
        .order_by("-job_id", "-seq")
        .values_list("data", flat=True)
    )
    last = said.first()
    return _short(str(last.get("text", "")), SUMMARY) if last else ""


def cost(sandbox: Sandbox) -> str:
    """What it has cost so far."""
    total = bill(sandbox, sandbox.turns.all(), sandbox.phases.all()).total
    minutes = max(1, round(sandbox.ran.total_seconds() / 60))
    price = f"${total.usd:.2f}" if total.whole else f"${total.usd:.2f} and what has no price"
    return f"{price} and {minutes} min of machine time (as of {timezone.now():%Y-%m-%d %H:%M} UTC)"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n\n(shortened)"


def _redactor(sandbox: Sandbox) -> Redactor:
    return Redactor(sandbox.project.secrets())
