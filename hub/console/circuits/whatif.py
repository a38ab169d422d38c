"""What other thresholds of a breaker would have done with the calls of the last hours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hub.circuits.config import CONFIG_FIELDS, check_overrides
from hub.circuits.services import config_of
from hub.console import pages
from hub.console.circuits.actions import CIRCUIT
from hub.errors import IntegrationError
from hub.routing import recorded

MAX_REQUESTS = 20_000
"""So many are read within a second or two; the command reads more."""
MAX_OPENINGS = 50


class WhatIf(forms.Form):
    """How far to look back, and the thresholds to try; an empty one is as it is."""

    hours = forms.IntegerField(min_value=1, max_value=recorded.MAX_HOURS, label="Of the last hours")

    def __init__(self, *args: Any, service_name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        in_force = config_of(service_name)
        for name in CONFIG_FIELDS:
            self.fields[name] = forms.FloatField(required=False, label=name.replace("_", " "))
            value = getattr(in_force, name)
            self.fields[name].widget.attrs["placeholder"] = "none" if value is None else value

    def clean(self) -> dict[str, Any]:
        """Refuse what no breaker takes; whole numbers are whole."""
        given = {name: self.cleaned_data.get(name) for name in CONFIG_FIELDS}
        tried = {name: int(value) if value.is_integer() else value for name, value in given.items() if value is not None}
        try:
            return {"hours": self.cleaned_data.get("hours"), "tried": check_overrides(tried)}
        except IntegrationError as exc:
            raise ValidationError(str(exc)) from None


@require_safe
def what_if(request: HttpRequest, service_name: str) -> HttpResponse:
    """Ask for thresholds, and show what they would have done."""
    pages.found(request, CIRCUIT, service_name)
    form = WhatIf(request.GET or None, service_name=service_name, initial={"hours": 24})
    found = None
    if form.is_valid():
        asked = form.cleaned_data
        found = recorded.what_if(service_name, asked["tried"], hours=asked["hours"], limit=MAX_REQUESTS)
    return pages.render(
        request,
        "console/circuit_whatif.html",
        title=f"Other thresholds for {service_name}",
        service_name=service_name,
        form=form,
        found=found,
        lines=[_line(title, found[key]) for title, key in (("as it is", "as_is"), ("tried", "what_if"))] if found else [],
    )


def _line(title: str, replayed: dict[str, Any]) -> dict[str, Any]:
    openings = [
        {"at": _moment(one["at_ms"]), "until": _moment(one["until_ms"]), "why": one["why"]} for one in replayed["openings"][:MAX_OPENINGS]
    ]
    return {**replayed, "title": title, "count": len(replayed["openings"]), "openings": openings}


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
