"""What pages of cards need beside the portal's own filters."""

from django import template
from django.utils.safestring import SafeString

from codecourier import markdown

register = template.Library()


@register.filter
def prose(text: str) -> SafeString:
    """An agent's or a person's Markdown as safe HTML."""
    return markdown.rendered(text)


@register.filter
def percent(share: float | None) -> str:
    """0 to 1 as whole percent; empty for none."""
    return "" if share is None else f"{share * 100:.0f} %"
