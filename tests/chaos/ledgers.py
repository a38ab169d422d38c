"""Read the target's ledger while it grows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class LedgerReader:
    """The target's ledger by saga, read on from where it was read last."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self.lines: list[dict[str, Any]] = []
        self._by_saga: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def of(self, execution_id: str) -> Sequence[Mapping[str, Any]]:
        """Return one saga's lines as `hub.testing` has them."""
        self.read()
        return self._by_saga[execution_id]

    def read(self) -> list[dict[str, Any]]:
        """Return all lines so far."""
        if self._path.exists():
            with self._path.open("rb") as book:
                book.seek(self._offset)
                fresh = book.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._offset += len(whole)
            for line in map(json.loads, whole.splitlines()):
                self.lines.append(line)
                self._by_saga[line["saga"]].append(_as_book(line))
        return self.lines


_EVENTS = {"received": "recv", "applied": "apply", "replayed": "replay", "rejected": "reject"}


def _as_book(line: Mapping[str, Any]) -> dict[str, Any]:
    return {**line, "ev": _EVENTS[line["event"]], "kind": "comp" if line["direction"] == "undo" else "action"}
