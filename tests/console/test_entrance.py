"""What no table could be asked for is refused at the door of every page, with a code."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from hub.telemetry import store
from hub.telemetry.admin import SpanAdmin
from hub.telemetry.values import TraceSpan
from tests.console.pages import act, failed_saga

pytestmark = pytest.mark.django_db
TOO_LARGE = "9" * 22
LISTS_BY_NUMBER = (
    ("admin:events_delivery_changelist", "subscription__id__exact"),
    ("admin:events_delivery_changelist", "subscription__exact"),
    ("admin:events_deadletter_changelist", "subscription__id__exact"),
    ("admin:auth_user_changelist", "groups__id__exact"),
    ("admin:auth_user_changelist", "id__in"),
    ("admin:telemetry_span_changelist", "start__year"),
)


def is_refused_or_finds_nothing(answer):
    """Tell whether a value beyond its column was dealt with: of some Django or the database knows that no row can have it."""
    return answer.status_code in (200, 302) or (answer.status_code == 422 and "E11912" in answer.content.decode())


@pytest.fixture
def root(client):
    client.force_login(User.objects.create_superuser("root"))
    client.raise_request_exception = False
    return client


@pytest.mark.parametrize(
    "address",
    [
        reverse("console:traces") + "?service=%00",
        reverse("console:traces") + "?q=a%00b",
        reverse("console:cause", args=["x"]) + "?%00=1",
        reverse("admin:events_delivery_changelist") + "?status__exact=%00",
        "/admin/events/event/a%00/change/",
        "/healthz?a=%00",
        "/admin/login/?next=%00",
    ],
)
def test_nul_in_an_address_is_refused(root, address):
    answer = root.get(address)

    assert (answer.status_code, "E11912" in answer.content.decode()) == (422, True)


@pytest.mark.parametrize("form", [{"reason": "a\0b"}, {"step": "\0"}, {"a\0": "1"}])
def test_nul_in_a_form_is_refused_and_nothing_is_done(root, form):
    run = failed_saga()

    answer = act(root, "saga", run.pk, "skip", **form)

    assert (answer.status_code, "E11905" in answer.content.decode()) == (422, True)
    run.refresh_from_db()
    assert run.status == "failed"


def test_a_form_without_its_csrf_token_is_refused_for_that_first(root):
    root.handler.enforce_csrf_checks = True

    assert root.post(reverse("admin:login"), {"username": "a\0"}).status_code == 403


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("page", "chosen"), [("events_deadletter", TOO_LARGE), ("sagas_sagaexecution", TOO_LARGE)])
def test_chosen_rows_that_can_be_none_are_refused(root, page, chosen):
    action = {"events_deadletter": "discard", "sagas_sagaexecution": "cancel"}[page]

    answer = root.post(reverse(f"admin:{page}_changelist"), {"action": action, "_selected_action": chosen, "index": "0"})

    assert is_refused_or_finds_nothing(answer)


def test_an_instance_of_a_number_that_is_none_is_not_there(root):
    assert root.get(f"/admin/registry/service/{'9' * 5_000}/change/").status_code == 404


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("page", "name"), LISTS_BY_NUMBER)
def test_a_filter_beyond_its_column_is_refused(root, page, name):
    assert is_refused_or_finds_nothing(root.get(reverse(page), {name: TOO_LARGE}))


def test_a_moment_beyond_the_calendar_filters_nothing(root):
    for moment in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"):
        assert root.get(reverse("console:traces"), {"before": moment}).status_code == 200


def test_a_list_refuses_a_moment_beyond_the_calendar(root):
    answer = root.get(reverse("admin:telemetry_span_changelist"), {"start__gte": "9999-12-31T23:59:59-14:00"})

    assert is_refused_or_finds_nothing(answer)


def test_a_fault_of_ours_in_a_list_stays_one(root, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(SpanAdmin, "duration", fail)
    now = datetime.now(UTC)
    store.write([TraceSpan(span_name="route", start=now, end=now)])

    assert root.get(reverse("admin:telemetry_span_changelist"), {"status__exact": "unset"}).status_code == 500


@pytest.mark.parametrize("wanted", ["//elsewhere.example/x", "https:elsewhere.example", "javascript:alert(1)"])
def test_who_logs_in_to_be_led_elsewhere_comes_to_the_console(client, wanted):
    User.objects.create_superuser("root", password="a-long-password")

    answer = client.post("/admin/login/", {"username": "root", "password": "a-long-password", "next": wanted})

    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")
