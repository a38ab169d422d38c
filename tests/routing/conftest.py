"""Real services on loopback, registered under names of their own."""

import itertools

import pytest

from hub.circuits import fleet
from hub.embedded import free_port
from registry_app import lookup, services
from registry_app.values import ServiceInfo
from tests.routing.targets import Target

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _fresh_process():
    fleet.forget()
    lookup.forget()
    yield
    fleet.forget()
    lookup.forget()


@pytest.fixture
def target():
    found = Target()
    yield found
    found.stop()


@pytest.fixture
def register(db):
    """Register instances: `register(url, url, ...) -> name`."""

    def register_all(*urls, name=None, **options):
        name = name or f"target{next(_numbers)}"
        for url in urls:
            services.register(ServiceInfo.create(name, "1.0", url, **options))
        lookup.forget()
        return name

    return register_all


@pytest.fixture
def service(target, register):
    """The name under which `target` is registered."""
    return register(target.url)


@pytest.fixture
def dead_url():
    """An address where nothing listens."""
    return f"http://127.0.0.1:{free_port()}"
