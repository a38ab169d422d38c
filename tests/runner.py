"""What `manage.py test` runs: pytest, so that both commands are one suite."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


class PytestRunner:
    """Django's TEST_RUNNER hook; everything after `manage.py test` is passed to pytest."""

    def __init__(self, **kwargs: Any) -> None:
        """Take Django's own options, which pytest does not need."""

    def run_tests(self, arguments: Iterable[str]) -> int:
        """Return pytest's exit code; it is 5, a failure, when no test was found."""
        return int(pytest.main(list(arguments)))
