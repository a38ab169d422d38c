"""What every test of the registry needs."""

import time

import pytest

from hub import database_clock
from registry_app import lookup, outcomes


@pytest.fixture(autouse=True)
def fresh_process():
    """Forget what this process knew of another test's rows."""
    lookup.forget()
    outcomes.flush()
    yield
    lookup.forget()


@pytest.fixture(autouse=True)
def clock_of_the_database(request, monkeypatch):
    """Let the database's clock be moved with this machine's, where a test moves that for more than a block."""
    if "time_machine" in request.fixturenames:
        monkeypatch.setattr(database_clock, "now", time.time)


@pytest.fixture
def hub_settings(settings):
    """Change settings of the hub for one test: `hub_settings(allow_loopback_endpoints=False)`."""

    def change(**values):
        settings.HUB = settings.HUB.model_copy(update=values)

    return change
