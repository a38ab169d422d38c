"""Secrets that a machine makes for itself and keeps in a file."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path


def kept_secret(path: Path, *, length: int = 12) -> tuple[str, bool]:
    """Return the secret in the file and whether it was made just now, of `length` random bytes; only the owner can read it.

    Processes that start at once all get the same one. A file that was left empty, by a full disk or a kill, counts as none.
    """
    if path.exists() and (kept := path.read_text().strip()):
        return kept, False
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go of when the file is closed, and so after it was written
        if kept := file.read().strip():
            return kept, False
        made = secrets.token_urlsafe(length)
        file.write(made)
    return made, True
