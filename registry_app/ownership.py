"""Who may speak for a name and for an instance: owner and generation.

A name belongs to the owner who registered it first, as long as one of its instances is registered. Of two processes at
one endpoint, the one with the higher generation is the newer. Both are what the caller says: who may call at all is
decided at the hub's doors.
"""

from __future__ import annotations

from datetime import datetime

from hub.errors import ErrorCode, IntegrationError
from registry_app.models import NameOwner, Service


def check_owner(owner: object) -> str:
    """Return an owner's name, empty for nobody in particular; E11902 for anything but a short string."""
    if owner is None:
        return ""
    if not isinstance(owner, str) or len(owner) > 64 or not owner.isprintable():
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"owner must be a string of at most 64 characters, not {owner!r:.80}")
    return owner


def check_generation(generation: object) -> int:
    """Return a generation; E11902 for anything but a whole number of 64 bit from 0 up."""
    if not isinstance(generation, int) or isinstance(generation, bool) or not 0 <= generation < 2**63:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"generation must be a whole number, not {generation!r:.80}")
    return generation


def claim_name(service_name: str, owner: str, now: datetime) -> None:
    """Make sure that the owner has the name, within the caller's transaction; E11021 or E11083 when another has it."""
    NameOwner.objects.get_or_create(service_name=service_name, defaults={"owner": owner, "since": now})
    # Registrations of one name go one after the other: the lock is short, and nobody waits for the network under it.
    claim = NameOwner.objects.select_for_update().get(service_name=service_name)
    if claim.owner == owner:
        return
    if claim.owner and Service.objects.filter(service_name=service_name, deregistered_at=None).exists():
        code = ErrorCode.SERVICE_CONFLICT if owner else ErrorCode.REGISTER_NOT_PERMITTED
        raise IntegrationError(
            code, f"{service_name} belongs to {claim.owner}", recovery_suggestion="register as its owner, or use another name"
        )
    NameOwner.objects.filter(service_name=service_name).update(owner=owner, since=now)


def was_registered(service_name: str) -> bool:
    """Tell whether the name was ever registered: a layer of one instance takes itself out at a clean stop, and comes back."""
    return NameOwner.objects.filter(service_name=service_name).exists()


def check_may_speak(row: Service, owner: str | None, generation: int, *, foreign: ErrorCode, stale: ErrorCode) -> None:
    """Refuse a caller who is not the owner (`foreign`) or whose generation is over (`stale`)."""
    if row.owner and row.owner != check_owner(owner):
        raise IntegrationError(foreign, f"{row} belongs to {row.owner}", recovery_suggestion="give its owner")
    if check_generation(generation) < row.generation:
        raise generation_is_over(stale, row, generation)


def generation_is_over(code: ErrorCode, row: Service, generation: int) -> IntegrationError:
    """Return the refusal of a process whose place a newer one took."""
    return IntegrationError(
        code,
        f"generation {generation} of {row} is over, {row.generation} is registered",
        recovery_suggestion="a newer process took its place, so stop; a file leaves out what registers itself",
    )
