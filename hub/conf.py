"""The hub's settings: typed, read once from the environment (``HUB_*``, ``REDIS_URL``, ``DATABASE_URL``).

`DEFAULT_CONFIG` is the set of defaults that layers written against the first hub import by name.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from hub import setting_values as rules
from hub.file_locks import is_locked

DEFAULT_CONFIG: dict[str, dict[str, Any]] = {
    "redis": {"url": "redis://localhost:6379"},
    "circuit_breaker": {"failure_threshold": 5, "timeout_sec": 60},
    "saga": {"default_timeout_sec": 300, "auto_compensate": True},
}

BASE_DIR = Path(__file__).resolve().parent.parent
AROUND_BYTES = 16_384
"""What a body of the HTTP API may hold besides its payload."""


def _below_checkout(value: str) -> str:
    """Return a path as it is meant in every process; empty is none, and `-` standard output."""
    return value if value in ("", "-") else str(BASE_DIR / value)


class HubSettings(BaseSettings):
    """Every setting of the hub; a wrong value is refused at start-up by name."""

    model_config = SettingsConfigDict(
        env_prefix="HUB_", frozen=True, extra="ignore", populate_by_name=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
    # Django asks each setting for this name at each access; without it, pydantic's search for it costs 15 µs.
    _mask_wrapped: ClassVar[bool] = True

    redis_url: Annotated[str, AfterValidator(rules.redis_address)] = Field(
        default="", validation_alias=AliasChoices("REDIS_URL", "redis_url")
    )
    database_url: Annotated[str, AfterValidator(rules.database_address)] = Field(
        default="", validation_alias=AliasChoices("DATABASE_URL", "database_url")
    )
    database_answer_sec: float = Field(default=30, ge=1)
    """So long may a statement on Postgres take, migrations aside: a server that is stopped, or a row that somebody's open transaction
    holds, keeps nobody for ever."""
    var_dir: Annotated[Path, AfterValidator(lambda path: BASE_DIR / path)] = BASE_DIR / "var"
    """A relative one lies below the checkout, whichever folder a process starts in: they must all mean the same."""
    secret_key: str = ""
    debug: bool = False
    allowed_hosts: str = "localhost,127.0.0.1,[::1]"
    csrf_trusted_origins: str = ""
    https: bool = False
    """A proxy in front speaks https: cookies go over https only, browsers stay with it, and ``X-Forwarded-Proto`` is believed. The
    proxy must set that header itself and drop the one of a caller (docs/security.md)."""
    log_format: Annotated[str, AfterValidator(rules.log_format)] = "text"
    log_level: Annotated[str, AfterValidator(rules.log_level)] = "INFO"
    allow_loopback_endpoints: bool = True
    """Loopback and private endpoints may be registered: right for one machine, to be switched off in production."""
    allowed_endpoint_networks: Annotated[str, AfterValidator(rules.allow_list)] = ""
    flower_url: str = ""
    """Where people reach Flower with a browser; the console then links to it. `manage.py up` gives that of its own Flower."""

    circuit_failure_threshold: int = Field(default=DEFAULT_CONFIG["circuit_breaker"]["failure_threshold"], ge=1)
    circuit_timeout_sec: float = Field(default=DEFAULT_CONFIG["circuit_breaker"]["timeout_sec"], gt=0)
    circuit_success_threshold: int = Field(default=2, ge=1)
    circuit_half_open_requests: int = Field(default=3, ge=1)
    circuit_error_rate_threshold: float = Field(default=0.5, gt=0, le=1)
    circuit_minimum_calls: int = Field(default=10, ge=1)
    circuit_window_size_sec: float = Field(default=60, ge=1)
    circuit_retention_days: int = Field(default=30, ge=1)

    request_timeout_sec: float = Field(default=30, gt=0)
    request_max_timeout_sec: float = Field(default=300, gt=0)
    request_max_attempts: int = Field(default=3, ge=1)
    request_max_body_bytes: int = Field(default=1_000_000, ge=1)
    request_max_answer_bytes: int = Field(default=5_000_000, ge=1)
    request_retention_days: int = Field(default=7, ge=1)
    request_key_hours: int = Field(default=24, ge=1)
    """How long the answer to a request with an idempotency key is kept."""
    request_credentials: Annotated[str, AfterValidator(rules.credentials)] = Field(default="", repr=False)
    """JSON object, service name to ``Authorization`` value: sent by the hub, never taken from a caller."""
    request_ca_file: Annotated[str, AfterValidator(_below_checkout), AfterValidator(rules.certificates)] = ""
    """Certificates to trust for https endpoints; empty means the public ones."""
    broadcast_max_targets: int = Field(default=50, ge=1)

    saga_modules: str = ""
    """Modules that define sagas, comma-separated. When unset: those of a running `manage.py up`."""
    saga_sweep_sec: float = Field(default=2, gt=0)
    saga_pickup_sec: float = Field(default=5, gt=0)
    saga_lease_sec: float = Field(default=15, ge=1)
    """After this long without a sign of life of the worker that runs a step, others go on; after a third it gives one each sixth."""
    saga_lease_grace_sec: float = Field(default=5, gt=0)
    saga_orphan_sec: float = Field(default=15, gt=0)
    saga_version_wait_sec: float = Field(default=60, gt=0)
    saga_max_undos_per_target: int = Field(default=10, ge=1)
    saga_max_active: int = Field(default=100_000, ge=1)
    saga_max_context_bytes: int = Field(default=262_144, ge=1)
    saga_retention_days: int = Field(default=30, ge=1)

    registry_max_services: int = Field(default=5_000, ge=1)
    registry_retention_days: int = Field(default=30, ge=1)
    registry_self_preservation_share: float = Field(default=0.5, gt=0, le=1)
    registry_probe_threads: int = Field(default=16, ge=1, le=256)
    event_max_bytes: int = Field(default=262_144, ge=1)
    event_stream_max_length: int = Field(default=100_000, ge=100)
    event_max_per_sec: int = Field(default=5_000, ge=1)
    event_hop_limit: int = Field(default=16, ge=1)
    event_max_subscriptions: int = Field(default=1_000, ge=1)
    event_retention_days: int = Field(default=7, ge=1)
    trace_retention_days: int = Field(default=7, ge=1)
    trace_slow_sec: float = Field(default=5, gt=0)
    """A span at least this long marks its trace as slow: kept when others are thinned out."""
    telemetry_enabled: bool = True
    """Without it no span is made and nothing is counted; traces of others are still passed on."""
    api_max_per_min: int = Field(default=1_200, ge=1)
    """How many calls of the HTTP API one token may make in a minute."""
    api_max_calls_at_once: int = Field(default=4, ge=1)
    """How many requests and broadcasts one web process sends for API callers at once; below its threads, so that some stay free."""
    telemetry_in_background: bool = True
    telemetry_token: str = ""
    """Bearer token of ``/metrics`` and ``/v1/traces``; without one, only this machine may use them."""
    trace_sample_ratio: float = Field(default=1, ge=0, le=1)
    """The share of unremarkable traces that are kept after an hour; failed, slow and rescued ones always are."""
    trace_max_spans_per_day: int = Field(default=1_000_000, ge=1_000)
    metric_max_series: int = Field(default=500, ge=2)
    redacted_values: str = ""
    """Comma-separated texts that are replaced wherever they would be stored or logged."""
    observability_output_file: Annotated[str, AfterValidator(_below_checkout)] = ""

    def api_max_body_bytes(self) -> int:
        """Return how large a body of the HTTP API may be: the largest payload that the rooms behind take, and what stands around it.

        Written out a payload takes more than the rooms count: base64 adds a third, a caller's spaces and escapes as much again.
        """
        return 2 * max(self.request_max_body_bytes, self.saga_max_context_bytes, self.event_max_bytes) + AROUND_BYTES

    def credentials(self) -> dict[str, str]:
        """Return the ``Authorization`` values that requests to services carry, by the services' names."""
        found: dict[str, str] = json.loads(self.request_credentials) if self.request_credentials else {}
        return found

    def credential_of(self, service_name: str) -> str | None:
        """Return the ``Authorization`` value that requests to a service carry, or None."""
        return self.credentials().get(service_name)

    def run_record(self) -> dict[str, Any]:
        """Return what a running ``manage.py up`` wrote to ``var/run.json``, or an empty dict."""
        try:
            record: dict[str, Any] = json.loads((self.var_dir / "run.json").read_text())
        except (OSError, ValueError):
            return {}
        # The lock as well: after a restart of the machine its number may be another process'.
        return record if _is_alive(record.get("pid")) and is_locked(self.var_dir / "up.lock") else {}

    def resolved_redis_url(self) -> str:
        """Return the Redis to use: ``REDIS_URL``, else that of a running ``up``, else the default of the seed."""
        return self.redis_url or self.run_record().get("redis_url") or DEFAULT_CONFIG["redis"]["url"]

    def resolved_database_url(self) -> str:
        """Return the database to use: ``DATABASE_URL``, else that of a running ``up``, else the SQLite file in ``var/``."""
        return self.database_url or self.run_record().get("database_url") or f"sqlite:///{self.var_dir / 'hub.sqlite3'}"

    def resolved_saga_modules(self) -> list[str]:
        """Return the modules that define sagas: ``HUB_SAGA_MODULES``, also an empty one, else those of a running ``up``."""
        is_given = "saga_modules" in self.model_fields_set
        named: str = self.saga_modules if is_given else self.run_record().get("saga_modules", "")
        return [name.strip() for name in named.split(",") if name.strip()]


def _is_alive(pid: Any) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
