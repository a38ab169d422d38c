"""The rows that keep each definition as runs were started with it; one never changes (E11422)."""

from __future__ import annotations

from django.db import connection

from hub.errors import ErrorCode, IntegrationError
from sagas.models import SagaVersion
from sagas.spec import SagaSpec

REMEMBERED = 1_000
_ids: dict[tuple[str, str, str], int] = {}


def id_of(spec: SagaSpec) -> int:
    """Return the row of a definition's snapshot, asked for once per process; stores it first if it is new.

    Within a caller's transaction it is asked each time and not remembered: the insert could not be repeated if pruning
    took the row away (`forget`), and a row that is rolled back leaves its number to another on SQLite.
    """
    if connection.in_atomic_block:
        return _row(spec).pk
    known = (spec.saga_name, spec.version, spec.hash)
    if known not in _ids:
        if len(_ids) > REMEMBERED:
            _ids.clear()
        _ids[known] = _row(spec).pk
    return _ids[known]


def forget() -> None:
    """Ask again where the snapshots are: an insert failed, and pruning may have taken one away."""
    _ids.clear()


def _row(spec: SagaSpec) -> SagaVersion:
    defaults = {"hash": spec.hash, "snapshot": spec.to_dict()}
    version, _ = SagaVersion.objects.get_or_create(saga_name=spec.saga_name, version=spec.version, defaults=defaults)
    if version.hash != spec.hash:
        raise IntegrationError(
            ErrorCode.DEFINITION_IMMUTABLE,
            f"saga {spec.saga_name!r} version {spec.version!r} was started before with other steps",
            recovery_suggestion="give the changed definition a new version",
        )
    return version
