"""A breaker of its own for each test, on a real Redis."""

import itertools

import pytest

from hub.circuits import fleet

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _fresh_process():
    fleet.forget()
    yield
    fleet.forget()


@pytest.fixture
def service():
    """A name that no other test uses."""
    return f"svc-{next(_numbers)}"
