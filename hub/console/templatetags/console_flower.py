"""Links to Flower on pages; nothing at all where nobody said where it is."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hub.console import flower
from hub.telemetry import conventions

register = template.Library()


@register.simple_tag
def in_flower(page: flower.Page, name: str = "", words: str = "in Flower") -> SafeString:
    """Return a link to a worker, a task or the broker in Flower, in a tab of its own; `name` says of what."""
    address = flower.url(page, "" if page == "broker" else name)
    if not address or not name:
        return SafeString("")
    label = f"{name} {words}" if words == "in Flower" else f"{words} in Flower"
    shown = '<a class="hub-elsewhere" href="{}" target="_blank" rel="noopener noreferrer" aria-label="{}">{}</a>'
    return format_html(shown, address, label, words)


@register.filter
def task_of(attributes: dict[str, object]) -> str:
    """Return the Celery task that a span's attributes name, or nothing: others' spans tell of other brokers' messages."""
    is_celery = attributes.get(conventions.MESSAGING_SYSTEM, "celery") == "celery"
    return str(attributes.get(conventions.MESSAGING_MESSAGE_ID) or "") if is_celery else ""
