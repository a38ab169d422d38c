"""Reading plain JSON into values: what is missing, unknown or of the wrong type is named (pure)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

from hub.errors import ErrorCode, IntegrationError


def as_object(given: object, what: str, *, known: list[str]) -> dict[str, Any]:
    """Return a JSON object whose keys are all known; E11901, E11902 or E11903."""
    if given is None:
        raise IntegrationError(ErrorCode.ARGUMENT_MISSING, f"{what} is missing")
    if not isinstance(given, Mapping):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{what} must be an object, not {type(given).__name__}")
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise IntegrationError(
            ErrorCode.ARGUMENT_UNKNOWN,
            f"{what} has unknown fields: {', '.join(unknown):.80}",
            recovery_suggestion=f"known are {', '.join(known)}",
        )
    return dict(given)


def as_tuple(given: object, what: str) -> tuple[Any, ...]:
    """Return a JSON list as a tuple; E11902 for anything else."""
    if isinstance(given, list | tuple):
        return tuple(given)
    raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"{what} must be a list, not {type(given).__name__}")


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a value is a whole number from 0 up and not a boolean."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a number that a float can hold, and not a boolean."""
    # Compared, not converted: JSON has whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and -sys.float_info.max <= value <= sys.float_info.max
