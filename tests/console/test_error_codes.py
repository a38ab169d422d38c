"""The pages of the error codes: each code says what it means, what to do, and how often it came up lately."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hub.console.codes import advice
from hub.error_codes import ErrorCode
from tests.console.pages import failed_saga, person
from tests.console.test_saga_list import copies


@pytest.mark.parametrize("code", list(ErrorCode), ids=str)
def test_every_code_has_an_area_a_kind_and_something_to_do(code):
    found = advice.on(code)

    assert found.area != "Integration hub"
    assert found.kind
    assert found.todo


def test_a_word_finds_its_codes():
    assert {one.code for one in advice.everything("dead-letter")} == {"E11143"}
    assert advice.everything("no such word") == []


@pytest.mark.django_db
def test_the_page_explains_and_counts():
    viewer, run = person("hub viewer"), failed_saga()
    copies(run, 2)

    html = viewer.get(reverse("console:error-code", args=["E11440"])).content.decode()

    assert ErrorCode("E11440").text in html.replace("&#x27;", "'")
    assert "3 sagas" in html


@pytest.mark.django_db
def test_the_page_costs_the_same_for_one_row_as_for_fifty():
    viewer, run = person("hub viewer"), failed_saga()
    counts = []
    for more in (0, 0, 49):
        copies(run, more)
        with CaptureQueriesContext(connection) as seen:
            viewer.get(reverse("console:error-code", args=["E11440"]))
        counts.append(len(seen))

    assert counts[1] == counts[2] <= 25


@pytest.mark.django_db
def test_the_list_searches_and_an_unknown_code_is_not_found(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))

    assert "E11143" in client.get(reverse("console:error-codes"), {"q": "dead-letter"}).content.decode()
    assert client.get(reverse("console:error-code", args=["E11999"])).status_code == 404
