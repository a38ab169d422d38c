"""What every test of the registry needs."""

import pytest

from registry_app import lookup, outcomes


@pytest.fixture(autouse=True)
def fresh_process():
    """Forget what this process knew of another test's rows."""
    lookup.forget()
    outcomes.flush()
    yield
    lookup.forget()


@pytest.fixture
def hub_settings(settings):
    """Change settings of the hub for one test: `hub_settings(allow_loopback_endpoints=False)`."""

    def change(**values):
        settings.HUB = settings.HUB.model_copy(update=values)

    return change
