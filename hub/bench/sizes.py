"""How much the long rows do: given by `manage.py bench`, handed to the process that measures in its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """`rows`: of each table where many are compared with a thousand; the rest: what a worker's memory is compared after."""

    rows: int = 100_000
    few: int = 1_000
    many_requests: int = 100_000
    many_sagas: int = 10_000

    def environment(self) -> dict[str, str]:
        """Return them for a child process."""
        return {_variable(field.name): str(getattr(self, field.name)) for field in fields(self)}


def asked(environment: Mapping[str, str] = os.environ) -> Sizes:
    """Return what was asked for; what was not said has its default."""
    names = [field.name for field in fields(Sizes) if _variable(field.name) in environment]
    return Sizes(**{name: int(environment[_variable(name)]) for name in names})


def _variable(name: str) -> str:
    return f"BENCH_{name.upper()}"
