"""An append-only book of effects that survives every process: what really happened, in one order."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def path() -> Path:
    return Path(os.environ["HUB_TEST_VAR"]) / "ledger.jsonl"


def write(**entry: Any) -> None:
    """Add one line and wait until the disk has it."""
    line = json.dumps({"pid": os.getpid(), **entry}) + "\n"
    book = os.open(path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(book, line.encode())
        os.fsync(book)
    finally:
        os.close(book)


def read(execution_id: str) -> list[dict[str, Any]]:
    """Return the lines of one saga in order."""
    if not path().exists():
        return []
    lines = [json.loads(line) for line in path().read_text().splitlines()]
    return [line for line in lines if line["saga"] == str(execution_id)]


def effects(execution_id: str) -> list[str]:
    """Return ``step.do`` and ``step.undo`` of one saga in order."""
    return [f"{line['step']}.{line['kind']}" for line in read(execution_id)]
