"""`var/run.json`: what a running `manage.py up` started and where, for scripts; and the lock that lets only one run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from hub.errors import ErrorCode, IntegrationError
from hub.file_locks import try_lock

LEFTOVERS_TIMEOUT_SEC = 30.0


def write(path: Path, record: dict[str, Any]) -> None:
    """Replace the record in one step, readable by its owner only: addresses may hold passwords."""
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(record, indent=2))
    draft.replace(path)


def take_lock(var_dir: Path, *, running: Callable[[], dict[str, Any]]) -> IO[str]:
    """Hold `var/` for this `up` and return the open lock; E11921 when another one has it.

    The processes of `up` inherit the lock. If `up` itself was killed they are ending now, and we wait for the last
    of them: two Redis servers on one data directory would spoil it.
    """
    lock = (var_dir / "up.lock").open("a")
    give_up_at = time.monotonic() + LEFTOVERS_TIMEOUT_SEC
    while not try_lock(lock):
        record = running()
        if record:
            raise _conflict(f"it runs already (process {record['pid']}, {record['web_url']})", "stop that one first")
        if time.monotonic() > give_up_at:
            raise _conflict("processes of an earlier run still live", f"see who holds {lock.name} and end them")
        time.sleep(0.2)
    return lock


def _conflict(message: str, advice: str) -> IntegrationError:
    return IntegrationError(ErrorCode.CONFLICT, message, recovery_suggestion=advice)
