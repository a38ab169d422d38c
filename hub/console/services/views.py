"""The page of a service instance: how it is and why, what fails with it, and what can be done."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from hub.circuits import breaker
from hub.console import audit, pages
from hub.console.acting import shape
from hub.console.services import blast, drawing
from hub.console.services.actions import SERVICE
from hub.routing.models import RoutedRequest
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets
from hub.telemetry.text import as_json
from registry_app import overview
from registry_app.models import Service

MAX_CHANGES = 25
MAX_REQUESTS = 10


def show(request: HttpRequest, service_id: str) -> HttpResponse:
    """Show an instance."""
    row: Service = pages.found(request, SERVICE, service_id)
    requests = RoutedRequest.objects.filter(service_name=row.service_name).order_by("-id")[:MAX_REQUESTS]
    return pages.render(
        request,
        "console/service.html",
        title=f"{row.service_name} at {row.endpoint}",
        row=row,
        standing=overview.standing(row),
        is_in_maintenance=overview.is_in_maintenance(row),
        penalty=overview.flap_penalty(row),
        circuit=breaker.look(row.service_name),
        tracker=drawing.tracker(row.tracker),
        sparkline=drawing.sparkline(row.recent_ms),
        radius=blast.radius(row),
        offers=shape.offers(SERVICE, row, request.user.has_perm),
        changes=list(row.changes.order_by("-at")[:MAX_CHANGES]),
        requests=list(requests) if request.user.has_perm("routing.view_routedrequest") else [],
        said=as_json({"tags": row.tags, "capabilities": row.capabilities, "metadata": row.metadata}, Redactor(known_secrets())),
        actions=audit.of("service", row.service_id),
    )
