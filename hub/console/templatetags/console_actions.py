"""Actions and their record on pages that another room makes."""

from __future__ import annotations

from typing import Any

from django import template

from hub.console import audit
from hub.console.acting import shape
from hub.console.acting.subjects import SUBJECTS
from hub.errors import IntegrationError

register = template.Library()


@register.inclusion_tag("console/panel.html", takes_context=True)
def action_panel(context: dict[str, Any], subject: str, subject_id: object) -> dict[str, Any]:
    """Offer what can be done to a thing, and show what was done."""
    kind, thing_id = SUBJECTS[subject], str(subject_id)
    try:
        thing = kind.find(thing_id)
    except IntegrationError:
        return {}
    offers = shape.offers(kind, thing, context["request"].user.has_perm)
    return {"offers": offers, "actions": audit.of(subject, thing_id), "csrf_token": context.get("csrf_token")}
