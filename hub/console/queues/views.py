"""The page of queues and workers."""

from __future__ import annotations

import redis
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from hub.console.queues import board

PERMISSION = "console.view_queues"


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Show the queues, those that nobody reads first."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(PERMISSION)
    try:
        found = board.look()
    except redis.RedisError:
        found = None
    context = {"title": "Queues and workers", "board": found}
    return TemplateResponse(request, "console/queues.html", {**admin.site.each_context(request), **context})
