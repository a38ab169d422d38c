"""Services from a file: what differs from the registry, and how to make it the same.

    owner = "platform"                      # who may change these services; the default is "config"

    [[services]]
    service_name = "L02_runtime"
    service_version = "0.1.0"
    endpoint = "http://runtime.internal:8002"
    health_check = { check_type = "http", endpoint = "/health" }

YAML with the same keys works too. Applying a file twice changes nothing the second time.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from hub.errors import ErrorCode, IntegrationError
from registry_app import services
from registry_app.convert import described
from registry_app.json_fields import as_object
from registry_app.models import Service
from registry_app.values import ServiceInfo

DEFAULT_OWNER = "config"
MAX_FILE_BYTES = 5_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a file says should be registered."""

    owner: str
    services: list[ServiceInfo]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One instance that the file and the registry do not agree about."""

    action: Literal["add", "change", "remove"]
    service_id: str
    title: str
    fields: dict[str, tuple[Any, Any]]
    """Field to (registered, wanted)."""


def read(path: Path) -> Wanted:
    """Read a TOML or YAML file; E11904 when it is neither, and the codes of `ServiceInfo.from_dict` with the entry's number."""
    data = as_object(_parse(path), "the file", known=["owner", "services"])
    entries = data.get("services")
    if not isinstance(entries, list):
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"{path.name} has no list of services")
    found = [_entry(number, entry) for number, entry in enumerate(entries, 1)]
    twice = {info.service_id for info in found if sum(one.service_id == info.service_id for one in found) > 1}
    if twice:
        names = sorted({f"{info.service_name} at {info.endpoint}" for info in found if info.service_id in twice})
        raise IntegrationError(ErrorCode.CONFLICT, f"{path.name} names an instance twice: {', '.join(names):.150}")
    return Wanted(owner=str(data.get("owner") or DEFAULT_OWNER), services=found)


def differences(wanted: Wanted, *, remove_others: bool) -> list[Difference]:
    """Return what has to be done, in the order of the file; `remove_others` takes out what the owner has but the file has not."""
    rows = {row.service_id: row for row in Service.objects.filter(deregistered_at=None, owner=wanted.owner)}
    rows |= {row.service_id: row for row in Service.objects.filter(service_id__in=[one.service_id for one in wanted.services])}
    found = [one for info in wanted.services if (one := _difference(info, rows.pop(info.service_id, None), wanted.owner))]
    if remove_others:
        found += [_removal(row) for row in rows.values() if row.owner == wanted.owner]
    return found


def apply(wanted: Wanted, found: list[Difference]) -> None:
    """Make the registry as the file says; each instance for itself, so that a refused one does not undo the others."""
    by_id = {info.service_id: info for info in wanted.services}
    for one in found:
        if one.action == "remove":
            services.deregister(one.service_id, owner=wanted.owner, reason="not in the file any more", force=True)
        else:
            services.register(by_id[one.service_id], owner=wanted.owner)


def _difference(info: ServiceInfo, row: Service | None, owner: str) -> Difference | None:
    title = f"{info.service_name} at {info.endpoint}"
    said = {**described(info), "owner": owner}
    if row is None or row.deregistered_at is not None:
        fields = {name: (None, value) for name, value in said.items() if value not in (None, "", [], {}, "none")}
        return Difference(action="add", service_id=info.service_id, title=title, fields=fields)
    changed = {name: (getattr(row, name), value) for name, value in said.items() if getattr(row, name) != value}
    return Difference(action="change", service_id=info.service_id, title=title, fields=changed) if changed else None


def _removal(row: Service) -> Difference:
    return Difference(action="remove", service_id=row.service_id, title=str(row), fields={})


def _entry(number: int, entry: object) -> ServiceInfo:
    try:
        return ServiceInfo.from_dict(entry)
    except IntegrationError as exc:
        raise IntegrationError(exc.code, f"service number {number}: {exc.message}", recovery_suggestion=exc.recovery_suggestion) from None


def _parse(path: Path) -> object:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise IntegrationError(ErrorCode.CONFIG_MISSING, f"{path} cannot be read: {exc}") from None
    if len(text) > MAX_FILE_BYTES:
        raise IntegrationError(ErrorCode.MESSAGE_TOO_LARGE, f"{path} has more than {MAX_FILE_BYTES} characters")
    try:
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as exc:
        raise IntegrationError(ErrorCode.JSON_MALFORMED, f"{path.name} is neither TOML nor YAML: {str(exc)[:200]}") from None
