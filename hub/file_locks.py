"""Locks between the processes of one machine: an open file, let go of when it is closed or its process dies."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


def try_lock(lock: IO[str]) -> bool:
    """Lock an open file, and tell whether nobody else has; never waits."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Tell whether a process that lives has locked the file; one that cannot be opened is somebody else's, and counts as locked."""
    try:
        with path.open() as lock:
            return not try_lock(lock)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
