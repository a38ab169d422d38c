"""Addresses for load balancers and people who ask whether the hub works; no log-in, never cached."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from hub.console import health


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that this process lives; it asks nobody, so a broken database never restarts a web process."""
    return JsonResponse({"status": "alive"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether the hub can do its work: 200, or 503 with what is missing, one entry per check."""
    findings = health.examine(health.READINESS)
    ready = health.all_ok(findings)
    body = {"status": "ready" if ready else "not ready", "checks": {finding.name: finding.as_json() for finding in findings}}
    return JsonResponse(body, status=200 if ready else 503)
