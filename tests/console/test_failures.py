"""Pages that cannot be shown: what is away is named, nothing of the inside shows, the log has the rest."""

import logging

import pytest
import redis
from django.db import OperationalError, ProgrammingError
from django.urls import reverse

from hub.console.queues import board
from hub.errors import IntegrationError
from tests.console.pages import act, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer():
    browser = person("hub viewer")
    browser.raise_request_exception = False
    return browser


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (OperationalError("no route to db.internal"), 503, "E11940"),
        (OperationalError("database is locked"), 503, "E11943"),
        (IntegrationError("E11425", "a saga that completed is turned back by nobody"), 409, "E11425"),
        (ProgrammingError("syntax error in db.internal"), 500, "E11900"),
    ],
)
def test_a_page_whose_view_fails_says_what_is_away(viewer, monkeypatch, caplog, error, status, says):
    def fail():
        raise error

    monkeypatch.setattr(board, "look", fail)
    monkeypatch.setattr(logging.getLogger("hub"), "propagate", True)

    answer = viewer.get(reverse("console:queues"))

    assert answer.status_code == status
    assert says in answer.content.decode()
    assert "db.internal" not in answer.content.decode()
    assert "page /admin/console/queues/ failed" in caplog.text
    assert str(error) in caplog.text


def test_an_action_on_what_cannot_be_asked_for_says_what_is_away(monkeypatch):
    def away():
        raise redis.ConnectionError("no route to redis.internal")

    monkeypatch.setattr(board, "look", away)
    admin = person("hub admin")
    admin.raise_request_exception = False

    answer = act(admin, "queue", "hub", "purge", confirm="yes")

    assert answer.status_code == 503
    assert "E11941" in answer.content.decode()
    assert "redis.internal" not in answer.content.decode()


@pytest.mark.parametrize("path", ["/admin/login/", "/healthz", "/api/v1/sagas"])
def test_who_asks_under_a_name_that_is_not_allowed_is_told_which_setting_names_it(client, path):
    answer = client.get(path, headers={"Host": "hub.example.com"})

    assert answer.status_code == 400
    assert "E11985" in answer.content.decode()
    assert "HUB_ALLOWED_HOSTS" in answer.content.decode()


def test_a_page_that_is_not_there_says_why_that_may_be(viewer):
    answer = viewer.get(reverse("console:trace", args=["b" * 32]))

    assert answer.status_code == 404
    assert "older than what is kept" in answer.content.decode()


def test_a_refused_page_names_the_permission(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))

    answer = client.get(reverse("console:queues"))

    assert answer.status_code == 403
    assert "console.view_queues" in answer.content.decode()
