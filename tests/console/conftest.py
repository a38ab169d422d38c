"""Nobody else may write rows, spans or messages while these tests look at them."""

import pytest


@pytest.fixture(autouse=True)
def _alone(no_worker_unless_asked):
    """Nothing more: the root conftest ends the others before the test's transaction begins."""
