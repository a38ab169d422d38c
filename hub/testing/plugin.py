"""The pytest plug-in: ``pytest_plugins = ["hub.testing.plugin"]`` gives the fixture `saga_kill_matrix`.

def test_an_order_survives_every_kill(saga_kill_matrix):
    report = saga_kill_matrix("shop.sagas:order", {"order": 7}, check=stock_adds_up)
    assert report.ok, report
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hub.testing.values import Report
from hub.testing.workbench import run_kill_matrix


@pytest.fixture
def saga_kill_matrix(tmp_path: Path) -> Callable[..., Report]:
    """Return `run_kill_matrix` with the test's own directory, where logs and the book of effects stay after a failure."""
    return partial(run_kill_matrix, var_dir=tmp_path)
