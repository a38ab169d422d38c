"""The description names every operation, with its scope; and its scope guards it."""

import pytest

from hub.api.scopes import Scope
from tests.api.conftest import Caller

METHODS = ("get", "post", "put", "patch", "delete")


def operations(client):
    """Return (method, path, what is said of it) of every operation."""
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    return [(method.upper(), path, found[method]) for path, found in paths.items() for method in METHODS if method in found]


def test_every_operation_says_which_scope_it_needs(client):
    found = operations(client)

    assert len(found) >= 30
    assert {said["x-scope"] for _, _, said in found} == set(Scope)
    assert all(said["security"] == [{"Bearer": []}] for _, _, said in found)
    assert all("application/problem+json" in said["responses"]["default"]["content"] for _, _, said in found)
    assert len({said["operationId"] for _, _, said in found}) == len(found)


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from references(item)


def test_every_reference_leads_somewhere(client):
    said = client.get("/api/v1/openapi.json").json()
    named = {one.removeprefix("#/components/schemas/") for one in references(said)}

    assert "Problem" in named
    assert named <= set(said["components"]["schemas"])


def test_everything_that_changes_something_needs_more_than_read(client):
    assert {said["x-scope"] for method, _, said in operations(client) if method == "GET"} == {"read"}
    assert "read" not in {said["x-scope"] for method, _, said in operations(client) if method != "GET"}


@pytest.mark.django_db
def test_no_operation_works_with_the_scopes_of_the_others(client):
    callers = {scope: Caller(*(set(Scope) - {scope}), name=scope.name) for scope in Scope}

    for method, path, said in operations(client):
        address = path.removeprefix("/api/v1")
        answer = callers[Scope(said["x-scope"])].send(method, address, {})
        assert (answer.status_code, answer.json()["code"]) == (403, "E11983"), (method, path)
        assert client.generic(method, path).json()["code"] == "E11980", (method, path)


def test_nothing_is_loaded_from_elsewhere(client):
    assert client.get("/api/v1/docs").status_code == 404
