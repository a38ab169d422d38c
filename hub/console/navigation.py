"""The side bar, and the console's own style and script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from hub.console import flower
from hub.events.models import DeadLetter
from registry_app.models import Service
from sagas.models import SagaExecution
from sagas.states import SagaStatus

MOST = 99


def style(request: HttpRequest) -> str:
    """Return the address of the console's style sheet."""
    return static("console/hub.css")


def script(request: HttpRequest) -> str:
    """Return the address of the console's script."""
    return static("console/hub.js")


def favicon(request: HttpRequest) -> str:
    """Return the address of the icon, so that a browser does not ask for one that is not there."""
    return static("console/favicon.svg")


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return what the side bar offers this person: pages they may see."""
    return [
        {"title": "Operate", "items": [*(_item(request, *entry) for entry in _OPERATE), *_elsewhere(request)]},
        {"title": "Bus", "separator": True, "items": [_item(request, *entry) for entry in _BUS]},
        {"title": "Look up", "separator": True, "items": [_item(request, *entry) for entry in _LOOK_UP]},
    ]


_OPERATE = (
    ("Overview", "dashboard", "admin:index", ""),
    ("Sagas", "account_tree", "admin:sagas_sagaexecution_changelist", "sagas.view_sagaexecution"),
    ("Services", "dns", "admin:registry_service_changelist", "registry.view_service"),
    ("Circuit breakers", "electric_bolt", "console:circuits", "circuits.view_circuitsetting"),
    ("Requests", "swap_horiz", "admin:routing_routedrequest_changelist", "routing.view_routedrequest"),
    ("Traces", "timeline", "console:traces", "telemetry.view_span"),
    ("Queues and workers", "stacks", "console:queues", "console.view_queues"),
    ("Dead letters", "unsubscribe", "console:causes", "events.view_deadletter"),
)
_BUS = (
    ("Events", "bolt", "admin:events_event_changelist", "events.view_event"),
    ("Subscriptions", "rss_feed", "admin:events_subscription_changelist", "events.view_subscription"),
    ("Routes", "alt_route", "admin:events_topicroute_changelist", "events.view_topicroute"),
    ("Topics", "tag", "admin:events_topic_changelist", "events.view_topic"),
)
_LOOK_UP = (
    ("API tokens", "key", "admin:api_apitoken_changelist", "api.view_apitoken"),
    ("Batch operations", "checklist", "admin:console_batchoperation_changelist", "console.view_batchoperation"),
    ("Schedules", "schedule", "admin:django_celery_beat_periodictask_changelist", "django_celery_beat.view_periodictask"),
    ("Error codes", "help", "console:error-codes", ""),
    ("What operators did", "history", "admin:console_operatoraction_changelist", "console.view_operatoraction"),
)


def _item(request: HttpRequest, title: str, icon: str, view: str, permission: str) -> dict[str, Any]:
    allowed = not permission or request.user.has_perm(permission)
    badge = _BADGES[view]() if allowed and view in _BADGES else ""
    return {"title": title, "icon": icon, "link": reverse(view), "permission": lambda _: allowed, "badge": badge}


def _elsewhere(request: HttpRequest) -> list[dict[str, Any]]:
    """Offer Flower to who may see the queues, where somebody said where it is; never marked as the page one is on."""
    allowed, link = request.user.has_perm("console.view_queues"), flower.url()
    entry = {"title": "Flower", "icon": "local_florist", "link": link, "permission": lambda _: allowed, "badge": "", "active": False}
    return [entry] if link else []


def _waiting_for_a_person() -> str:
    return _counted(SagaExecution.objects.filter(status=SagaStatus.NEEDS_OPERATOR.value))


def _open_letters() -> str:
    return _counted(DeadLetter.objects.filter(status=DeadLetter.Status.OPEN))


def _sick() -> str:
    return _counted(Service.objects.filter(status="unhealthy", deregistered_at=None))


def _counted(rows: QuerySet[Any]) -> str:
    """Return a count for a badge, 99 at most; nothing for none."""
    count = rows.order_by()[: MOST + 1].count()
    return f"{MOST}+" if count > MOST else str(count) if count else ""


_BADGES: dict[str, Callable[[], str]] = {
    "admin:sagas_sagaexecution_changelist": _waiting_for_a_person,
    "admin:registry_service_changelist": _sick,
    "console:causes": _open_letters,
}
