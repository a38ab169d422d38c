"""What `manage.py up` prepares before the hub's processes start: ports, secrets, database, administrator, static files."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import redis
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import Error as AnyDatabaseError
from django.db import connection

from hub.embedded import free_port
from hub.errors import ErrorCode, IntegrationError

STATE = ("hub.sqlite3*", "redis", "redis_port", "demo", "log", "static", "flower*", "run.json")
"""What `--reset` removes from `var/`; a database elsewhere is never touched."""
ADMIN_NAME = "admin"
_reserved: list[socket.socket] = []


def choose_port(wanted: int | None, usual: int) -> int:
    """Return the wanted port (E11931 when it cannot be had), else the usual one if free, else any free one."""
    if wanted is not None:
        if wanted < 1 or not reserve(wanted):
            raise IntegrationError(
                ErrorCode.CONFIG_INVALID, f"port {wanted} cannot be used", recovery_suggestion="give another --port, or none"
            )
        return wanted
    return usual if reserve(usual) else free_port()


def reserve(port: int) -> bool:
    """Take a free port before another `up` of this machine does, to which it looks free until something listens on it.

    That one's pages would answer under our address, and ours never start.
    """
    if not is_free(port):
        return False
    if sys.platform == "linux":
        hold = socket.socket(socket.AF_UNIX)
        try:
            hold.bind(f"\0l11-hub-port-{port}")  # no file: the name goes with this process, however it ends
        except OSError:
            hold.close()
            return False
        _reserved.append(hold)
    return True


def is_free(port: int) -> bool:
    """Tell whether nobody listens on the loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def demo_ports(path: Path, names: Iterable[str]) -> dict[str, int]:
    """Return a port per name, that of the last run where it is still free: a service keeps its address, as real ones do."""
    kept = _read_ports(path)
    ports = {name: kept[name] if name in kept and is_free(kept[name]) else free_port() for name in names}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(ports))
    return ports


def _read_ports(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):  # not there yet, or half written by a full disk
        return {}
    return {name: port for name, port in found.items() if isinstance(port, int)} if isinstance(found, dict) else {}


def kept_port(path: Path) -> int:
    """Return the port of the last run if it is still free, else any free one: a layer finds Redis again where it was."""
    kept = path.read_text().strip() if path.exists() else ""
    port = int(kept) if kept.isdecimal() and is_free(int(kept)) else free_port()
    path.write_text(str(port))
    return port


def require_redis(url: str) -> None:
    """Return when the Redis of REDIS_URL answers; E11941 when it does not, E11931 when the address is none."""
    try:
        client = redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3)
        client.ping()
    except ValueError as exc:
        raise IntegrationError(ErrorCode.CONFIG_INVALID, f"REDIS_URL is no address of a Redis: {exc}") from exc
    except redis.RedisError as exc:
        message = f"the Redis of REDIS_URL does not answer: {first_line(exc)}"
        raise IntegrationError(ErrorCode.BROKER_UNAVAILABLE, message, recovery_suggestion="start it, or unset REDIS_URL") from exc


def migrate(say: Callable[[str], None]) -> None:
    """Bring the database to the code's state; E11940 when it cannot be reached."""
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except AnyDatabaseError as exc:
        message = f"the database ({connection.vendor}) does not take the migrations: {first_line(exc)}"
        raise IntegrationError(
            ErrorCode.DATABASE_UNAVAILABLE, message, recovery_suggestion="start it, or correct DATABASE_URL, or unset it"
        ) from exc
    say(f"database: {connection.vendor}, migrated")


def collect_static() -> None:
    """Gather the static files of all apps where the web process serves them from."""
    call_command("collectstatic", interactive=False, verbosity=0)


def ensure_admin() -> tuple[str, str | None]:
    """Return the name of an administrator, and the password if one had to be made just now."""
    users = get_user_model()._default_manager
    known = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if known is not None:
        return known.get_username(), None
    password = secrets.token_urlsafe(12)
    users.create_superuser(ADMIN_NAME, "", password)
    return ADMIN_NAME, password


def reset(var_dir: Path) -> None:
    """Remove what earlier runs left in `var/`; the signing key stays, so that nobody is logged out for it."""
    for path in [path for pattern in STATE for path in var_dir.glob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def first_line(exc: Exception) -> str:
    """Return the first line of an error that others wrote."""
    return str(exc).strip().split("\n")[0]
