"""Times, durations and states, the same everywhere; static/js/portal.js writes the ticking ones with the same words."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.forms import BoundField
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
COLOURS = {
    **dict.fromkeys(["running", "succeeded", "completed", "success", "open", "pushed", "done", "approved"], "green"),
    **dict.fromkeys(["creating", "pending", "starting", "info", "pushing", "new"], "blue"),
    "merged": "purple",
    **dict.fromkeys(["paused", "stopping", "pausing", "interrupted", "warning", "answered"], "yellow"),
    **dict.fromkeys(["error", "failed", "lost", "blocked", "stopped"], "red"),
}
SIZES = ((10**9, "G"), (10**6, "M"), (10**3, "k"))
SMALLEST = Decimal("0.0001")
MOVING = frozenset({"creating", "running", "starting", "stopping", "pausing", "pushing"})


def words(seconds: float) -> str:
    """At most two units: `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d`."""
    left, parts = int(max(0, seconds)), list[str]()
    for size, unit in UNITS:
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts) or "0 s"


@register.filter
def duration(value: Any) -> str:
    """A timedelta, or seconds, in words; milliseconds under one second, tenths under ten."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if 0 < seconds < 10 else words(seconds)


@register.filter
def ago(at: datetime | None) -> str:
    """A moment in the past, with the exact one on hover."""
    return _time(at, "ago", f"{_short(timezone.now() - at)} ago") if at else ""


@register.filter
def since(at: datetime | None) -> str:
    """How long something has taken so far, ticking."""
    return _time(at, "since", words((timezone.now() - at).total_seconds())) if at else ""


@register.filter
def until(at: datetime | None) -> str:
    """How long is left, ticking."""
    return _time(at, "until", words((at - timezone.now()).total_seconds())) if at else ""


@register.filter
def moment(at: datetime | None) -> str:
    """A moment as a clock shows it, with the date on hover."""
    return _time(at, "clock", f"{at:%H:%M:%S}") if at else ""


@register.filter
def usd(value: Decimal | None) -> str:
    """An amount in USD: cents from a dollar on, below it as fine as it takes to see it grow."""
    if value is None:
        return ""
    if 0 < value < SMALLEST:
        return f"<${SMALLEST}"
    return f"${value:,.2f}" if value >= 1 or not value else f"${value:.4f}"


@register.filter
def compact(value: int) -> SafeString:
    """A large number in short, with the exact one on hover."""
    size, unit = next(((size, unit) for size, unit in SIZES if value >= size), (1, ""))
    text = f"{value / size:,.1f}" if unit else str(value)
    return format_html('<span title="{}">{}{}</span>', f"{value:,}", text, f"\N{NO-BREAK SPACE}{unit}" if unit else "")


def _short(span: timedelta) -> str:
    """The largest unit alone."""
    text = words(span.total_seconds()).split(" ")
    return " ".join(text[:2])


def _time(at: datetime, how: str, text: str) -> SafeString:
    exact = f"{at:%d %b %Y, %H:%M:%S} UTC"
    return format_html(
        '<time datetime="{}" title="{}" data-tick="{}">{}</time>', at.isoformat(timespec="seconds"), exact, how, text
    )


@register.filter
def state(row: Any) -> str:
    """A dot and a word for whatever has a status."""
    key, word = row.status, status_word(row)
    if getattr(row, "stopping", False):
        key, word = ("stopping", "Stopping") if row.wanted == "kill" else ("pausing", "Pausing")
    return dot(key, word)


@register.filter
def status_word(row: Any) -> str:
    """The label of a row's status."""
    return str(row.Status(row.status).label)


@register.simple_tag
def dot(key: str, word: str) -> SafeString:
    """The same for a status without a row."""
    moving = " status-dot-animated" if key in MOVING else ""
    return format_html(
        '<span class="status status-{} state" data-state="{}"><span class="status-dot{}"></span>{}</span>',
        COLOURS.get(key, "secondary"),
        key,
        moving,
        word,
    )


@register.filter
def colour(key: str) -> str:
    """The colour of a status or a message level."""
    return COLOURS.get(key, "secondary")


@register.filter
def dressed(field: BoundField) -> SafeString:
    """A field of somebody else's form, with the classes of ours."""
    names = {"checkbox": "form-check-input", "select": "form-select", "radioselect": ""}
    return field.as_widget(attrs={"class": names.get(field.widget_type, "form-control")})
