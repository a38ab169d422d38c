"""The first page of the admin: what is wrong first."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from hub.console.overview import figures, troubles


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the admin's index what the overview shows this person."""
    may = request.user.has_perm
    traffic = figures.traffic() if may("routing.view_routedrequest") else None
    found = troubles.find(may)
    shown = {"troubles": found, "is_urgent": any(trouble.is_urgent for trouble in found), "figures": figures.figures(may)}
    return {**context, "title": "Overview", "traffic": traffic, **shown}
