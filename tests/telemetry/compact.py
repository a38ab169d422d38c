"""Bad inputs from a data file, in which large and odd values are written small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a file: id, surface, title, input (expanded) and what is expected."""
    return [{**entry, "input": expand(entry["input"])} for entry in json.loads(path.read_text())]


def expand(value: Any) -> Any:
    """Return `value` with ``$repeat``, ``$nan``, ``$inf`` and ``$range_dict`` written out."""
    if isinstance(value, list):
        return [expand(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, argument = next(iter(value.items()))
        if name == "$repeat":
            return argument[0] * argument[1]
        if name in ("$nan", "$inf"):
            return float(name[1:])
        if name == "$range_dict":
            return {f"k{number}": "v" for number in range(argument)}
    return {name: expand(item) for name, item in value.items()}
