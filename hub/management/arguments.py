"""What a command's arguments may be."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

PAGE = 1_000
"""A list shows so many at most."""


def json_text(name: str) -> Callable[[str], Any]:
    """Return the type of an argument that is JSON; NaN and Infinity are not."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    def read(text: str) -> Any:
        try:
            return json.loads(text, parse_constant=refuse)
        except ValueError as exc:
            raise ArgumentTypeError(f"{name}: not JSON: {exc}") from None

    return read


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number from `least` to `most`."""
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            raise ArgumentTypeError(f"must be a whole number {wanted}, not {text[:40]!r}")
        return int(text)

    return read
