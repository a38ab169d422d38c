"""Lists of large tables in the admin: their own order only, which an index serves."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.urls import reverse

from hub.history_admin import LargeTable
from hub.routing.models import RoutedRequest
from tests.console.pages import dead_letters, saga

pytestmark = pytest.mark.django_db

LARGE = [model for model, its_admin in admin.site._registry.items() if isinstance(its_admin, LargeTable)]
every_large_table = pytest.mark.parametrize("model", LARGE, ids=lambda model: model.__name__)


def address(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def test_every_table_that_grows_with_the_traffic_is_a_large_one():
    names = {model.__name__ for model in LARGE}

    assert names >= {"Span", "RoutedRequest", "Event", "Delivery", "DeadLetter", "SagaExecution", "HealthChange", "CircuitTransition"}
    assert names >= {"OperatorAction", "BatchOperation"}


@every_large_table
def test_no_column_can_be_clicked_to_sort_by_it(admin_client, model):
    saga()
    dead_letters()

    html = admin_client.get(address(model)).content.decode()

    assert re.findall(r'href="\?[^"]*\bo=', html) == []


@every_large_table
@pytest.mark.parametrize("order", ["1", "-1", "3.-2", "nonsense", ""])
def test_another_order_is_refused_and_leads_back_to_the_list(admin_client, model, order):
    answer = admin_client.get(address(model), {"o": order})

    assert (answer.status_code, answer["Location"]) == (302, f"{address(model)}?e=1")


def test_the_list_it_leads_to_is_in_its_own_order(admin_client):
    rows = [RoutedRequest.objects.create(service_name=name, method="GET", path="/", outcome="ok", duration_ms=1) for name in "abc"]

    answer = admin_client.get(address(RoutedRequest), {"o": "2"}, follow=True)

    assert [row.pk for row in answer.context["cl"].result_list] == [row.pk for row in reversed(rows)]
