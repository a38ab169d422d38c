"""The page of queues and workers."""

from __future__ import annotations

import redis
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hub.console import pages
from hub.console.acting import shape
from hub.console.queues import board
from hub.console.queues.actions import QUEUE


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Show the queues, those that nobody reads first."""
    pages.check_may(request, QUEUE.view_permission)
    try:
        found = board.look()
    except redis.RedisError:
        found = None
    return pages.render(
        request, "console/queues.html", title="Queues and workers", board=found, lines=[] if found is None else _lines(request, found)
    )


def _lines(request: HttpRequest, found: board.Board) -> list[tuple[board.QueueLine, list[shape.Offer]]]:
    return [(line, shape.offers(QUEUE, line, request.user.has_perm)) for line in found.queues]
