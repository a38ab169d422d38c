"""The board of the breakers, and the page of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from hub.circuits import breaker, services
from hub.circuits.defaults import default_config
from hub.circuits.models import CircuitTransition
from hub.circuits.policy import MANUAL, CircuitState
from hub.circuits.snapshots import CircuitSnapshot
from hub.console import audit, pages
from hub.console.acting import shape
from hub.console.circuits.actions import CIRCUIT
from registry_app.models import Service

MAX_TILES = 1_000
MAX_MOVES = 50
_WORST_FIRST = (
    CircuitState.FORCED_OPEN,
    CircuitState.OPEN,
    CircuitState.HALF_OPEN,
    CircuitState.METRICS_ONLY,
    CircuitState.FORCED_CLOSED,
    CircuitState.CLOSED,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A breaker as the board shows it; `until` is when its state ends by itself."""

    seen: CircuitSnapshot
    is_manual: bool
    rate: float
    until: datetime | None


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    """Show every breaker that the fleet knows, those that refuse calls first."""
    pages.check_may(request, CIRCUIT.view_permission)
    states = sorted(services.all_states(), key=lambda seen: (_WORST_FIRST.index(seen.state), seen.service_name))
    known = {seen.service_name for seen in states}
    names = Service.objects.filter(deregistered_at=None).order_by("service_name").values_list("service_name", flat=True)
    quiet = [name for name in names.distinct()[:MAX_TILES] if name not in known]
    return pages.render(
        request,
        "console/circuits.html",
        title="Circuit breakers",
        alone_since=breaker.alone_since(),
        decided=services.decided(),
        tiles=[_tile(seen) for seen in states[:MAX_TILES]],
        quiet=quiet,
    )


@require_safe
def show(request: HttpRequest, service_name: str) -> HttpResponse:
    """Show a breaker: how it stands, by whose word, what became of it and what can be done."""
    seen = pages.found(request, CIRCUIT, service_name)
    return pages.render(
        request,
        "console/circuit.html",
        title=f"Breaker of {service_name}",
        tile=_tile(seen),
        policy=_policy(seen),
        offers=shape.offers(CIRCUIT, seen, request.user.has_perm),
        moves=list(CircuitTransition.objects.filter(service_name=service_name).order_by("-at")[:MAX_MOVES]),
        actions=audit.of("circuit", service_name),
        instances=list(Service.objects.filter(service_name=service_name, deregistered_at=None).order_by("endpoint")[:20]),
    )


def _tile(seen: CircuitSnapshot) -> Tile:
    is_manual = seen.state in MANUAL
    until_ms = seen.manual_until_ms if is_manual else seen.refused_until_ms
    until = datetime.fromtimestamp(until_ms / 1000, UTC) if until_ms else None
    return Tile(seen=seen, is_manual=is_manual, rate=seen.get_error_rate() * 100, until=until)


def _policy(seen: CircuitSnapshot) -> list[tuple[str, object, bool]]:
    """Return each value of the policy in force, and whether an operator set it."""
    config = default_config().with_overrides(seen.overrides)
    return [(name.replace("_", " "), getattr(config, name), name in seen.overrides) for name in config.__slots__]
