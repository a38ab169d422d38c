"""Words for templates."""

from __future__ import annotations

from django import template

from hub.console.saga import drawing
from hub.diagnosis import sagas as diagnosis
from sagas.models import SagaExecution

register = template.Library()


@register.filter
def in_words(status: object) -> str:
    """Return a status as a person writes it."""
    return str(status or "").replace("_", " ")


@register.filter
def why(row: SagaExecution) -> str:
    """Return why a saga stands where it stands."""
    return str(diagnosis.why_saga_of(str(row.pk)))


@register.filter
def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    return drawing.in_words(float(seconds))


@register.filter
def standing(seen: dict[str, object] | None) -> str:
    """Return how a thing stood, of what an action wrote down: its status, or else all that is not nested."""
    if not seen:
        return "not known"
    if "status" in seen:
        return in_words(seen["status"])
    return ", ".join(f"{name} {in_words(value)}" for name, value in seen.items() if isinstance(value, str | int | float))
