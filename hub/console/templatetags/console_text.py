"""Words for templates."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def in_words(status: object) -> str:
    """Return a status as a person writes it."""
    return str(status or "").replace("_", " ")
