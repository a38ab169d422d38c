"""The file sink: one JSON object a line, the whole batch in one write, rotated by size."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hub.file_locks import try_lock
from hub.telemetry.values import TraceSpan

MAX_FILE_BYTES = 50_000_000
KEPT_FILES = 3
CONSOLE = "-"


class JsonLinesSink:
    """Append spans to a file that several processes share; ``-`` is standard output.

    Every batch is one ``write`` to a file opened for appending, so lines of two processes never mix.
    """

    def __init__(self, path: str | Path, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._path = str(path)
        self._max_bytes = max_bytes

    def __call__(self, spans: Sequence[TraceSpan]) -> None:
        """Append `spans`."""
        text = "".join(json.dumps(span.to_dict(), default=str) + "\n" for span in spans)
        if self._path == CONSOLE:
            # In a worker `sys.stdout` is Celery's log, which would make one warning of the batch.
            _write_all(sys.__stdout__.fileno(), text.encode())  # type: ignore[union-attr]  # a process without one fails alone, as any sink
            return
        self._rotate_when_full()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            _write_all(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def _rotate_when_full(self) -> None:
        path = Path(self._path)
        if not path.exists() or path.stat().st_size < self._max_bytes:
            return
        with Path(f"{path}.lock").open("a") as lock:
            # Whoever is second finds a short file, or another at it: his lines go to the file that is there.
            if try_lock(lock) and path.exists() and path.stat().st_size >= self._max_bytes:
                _rotate(path)


def _rotate(path: Path) -> None:
    for number in range(KEPT_FILES - 1, 0, -1):
        older = Path(f"{path}.{number}")
        if older.exists():
            older.replace(f"{path}.{number + 1}")
    path.replace(f"{path}.1")


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])
