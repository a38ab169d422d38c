"""The examples of docs/api.md are calls that the API understands."""

import re
import shlex
from pathlib import Path

import pytest

from tests.api.test_openapi import operations
from tests.console import pages

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^curl .*$", TEXT, re.MULTILINE)
FORM = {"E11900", "E11901", "E11902", "E11903", "E11904", "E11908", "E11910", "E11911", "E11912", "E11920"}


def parsed(example):
    """Return method, path below the API, headers and body of a curl command."""
    words = iter(shlex.split(example)[1:])
    method, body, headers, path = "", "", {}, ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-d":
            body = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers |= {name: value} if value else {}
        else:
            path = word.removeprefix("$HUB")
    return method or ("POST" if body else "GET"), path, headers, body


@pytest.mark.django_db
def test_each_example_is_understood(caller):
    known = {
        "$RUN": str(pages.saga().pk),
        "$TRACE": "ab" * 16,
        "$LETTER": "1",
        "$SERVICE": "s-1",
        "$FINGERPRINT": "f-1",
        "$LAYER": "L02",
        "$NAME": "agents",
    }
    assert len(EXAMPLES) > 30

    for example in EXAMPLES:
        method, path, headers, body = parsed(example)
        for name, value in known.items():
            path = path.replace(name, value)
        answer = caller.send(method, path, body, **headers)
        assert answer.status_code < 400 or answer.json()["code"] not in FORM, (example, answer.json())


def test_every_operation_but_plain_looks_has_an_example(client):
    shown = {(method, re.sub(r"\$[A-Z]+|L02_runtime", "{}", path.partition("?")[0])) for method, path, _, _ in map(parsed, EXAMPLES)}
    known = {(method, re.sub(r"\{\w+\}", "{}", path.removeprefix("/api/v1"))) for method, path, _ in operations(client)}

    assert shown <= known
    assert {one for one in known - shown if one[0] != "GET"} == set()


def test_every_scope_is_explained(client):
    assert all(f"| `{said['x-scope']}` |" in TEXT for _, _, said in operations(client))
