"""A caller with a token. Nobody else may write rows, spans or messages while these tests look at them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from hub.api import tokens
from hub.api.scopes import Scope
from hub.circuits import fleet
from hub.redis_client import client as redis_client
from hub.telemetry import metrics
from registry_app import lookup
from tests.routing.targets import Target


@pytest.fixture(autouse=True)
def _alone(no_worker_unless_asked):
    metrics.flush()
    redis_client().flushdb()
    fleet.forget()
    lookup.forget()
    yield
    fleet.forget()
    lookup.forget()


class Caller:
    """Somebody with a token: `caller.get("/sagas")`, `caller.post("/sagas", {...})`; `text` is the token."""

    def __init__(self, *scopes: str, name: str = "ci") -> None:
        self.row, self.text = tokens.create(name, scopes or list(Scope), by="tests")
        self.client = Client()

    def get(self, path: str, **headers: str) -> Any:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        given = {"Authorization": f"Bearer {self.text}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        sent = body if isinstance(body, bytes | str) else b"" if body is None else json.dumps(body)
        return self.client.generic(method, f"/api/v1{path}", sent, content_type="application/json", headers=given)


@pytest.fixture
def caller(db) -> Caller:
    """Somebody who may do everything."""
    return Caller()


@pytest.fixture
def target():
    """A service on loopback that does what its path says."""
    found = Target()
    yield found
    found.stop()
