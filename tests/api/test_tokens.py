"""Tokens are made once, shown once, and end when somebody says so."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from hub.api import tokens
from hub.api.models import ApiToken
from hub.console import groups
from hub.errors import IntegrationError
from tests.console import pages

pytestmark = pytest.mark.django_db


def test_the_text_of_a_token_is_kept_nowhere():
    row, text = tokens.create("ci", ["read"], by="ann")

    stored = " ".join(str(value) for value in ApiToken.objects.values_list().get(pk=row.pk))
    assert tokens.authenticate(text) == row
    assert text.split("_", 2)[2] not in stored
    assert (row.created_by, row.scopes) == ("ann", ["read"])


@pytest.mark.parametrize(
    ("name", "scopes", "days", "code"),
    [
        ("", ["read"], 1, "E11902"),
        ("a\nb", ["read"], 1, "E11902"),
        ("ci", [], 1, "E11902"),
        ("ci", ["everything"], 1, "E11902"),
        ("ci", ["read"], 0, "E11902"),
        ("ci", ["read"], 4_000, "E11902"),
        ("taken", ["read"], 1, "E11921"),
    ],
)
def test_a_token_that_cannot_be_is_refused(name, scopes, days, code):
    tokens.create("taken", ["read"], by="ann")

    with pytest.raises(IntegrationError, match=code):
        tokens.create(name, scopes, by="ann", days=days)

    assert ApiToken.objects.count() == 1


def test_tokens_that_ended_long_ago_go_when_the_next_is_made():
    row, _ = tokens.create("old", ["read"], by="ann")
    ApiToken.objects.filter(pk=row.pk).update(revoked_at=timezone.now() - timedelta(days=tokens.KEPT_DAYS + 1))

    tokens.create("new", ["read"], by="ann")

    assert [one.name for one in ApiToken.objects.all()] == ["new"]


def test_tokens_are_made_listed_and_revoked_from_a_shell(capsys):
    call_command("token", "create", "ci", "--scope", "read", "--scope", "sagas:write")
    text = capsys.readouterr().out.strip()
    assert tokens.authenticate(text).scopes == ["read", "sagas:write"]

    call_command("token", "list")
    listed = capsys.readouterr().out
    assert "ci" in listed
    assert text.split("_", 2)[2] not in listed

    call_command("token", "revoke", "ci")
    with pytest.raises(IntegrationError, match="E11982"):
        tokens.authenticate(text)
    with pytest.raises(CommandError, match="E11920"):
        call_command("token", "revoke", "nobody")


@pytest.fixture
def browser():
    found = Client()
    found.force_login(User.objects.create_superuser("root", password="correct horse battery"))
    return found


def test_the_admin_shows_a_new_token_once(browser):
    answer = browser.post("/admin/api/apitoken/add/", {"name": "ci", "scopes": ["read", "events:publish"], "days": 30})

    text = answer.context["text"]
    assert text in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert tokens.authenticate(text).scopes == ["read", "events:publish"]
    row = ApiToken.objects.get()
    for page in ("/admin/api/apitoken/", f"/admin/api/apitoken/{row.pk}/change/", "/admin/"):
        shown = browser.get(page).content.decode()
        assert text.split("_", 2)[2] not in shown
        assert row.digest not in shown


def test_only_admins_make_and_end_tokens():
    row, text = tokens.create("ci", ["read"], by="ann")
    operator, admin = pages.person(groups.OPERATOR, "otto"), pages.person(groups.ADMIN, "ada")
    wanted = {"name": "new", "scopes": ["read"], "days": 30}

    assert operator.get("/admin/api/apitoken/").status_code == 200
    assert operator.post("/admin/api/apitoken/add/", wanted).status_code == 403
    operator.post("/admin/api/apitoken/", {"action": "revoke", "_selected_action": [row.pk]})
    assert tokens.authenticate(text) == row

    assert admin.post("/admin/api/apitoken/add/", wanted).status_code == 200
    assert ApiToken.objects.get(name="new").created_by == "ada"


def test_the_admin_refuses_and_revokes(browser):
    row, text = tokens.create("ci", ["read"], by="ann")

    assert browser.post("/admin/api/apitoken/add/", {"name": "a/b", "scopes": ["read"], "days": 30}).status_code == 200
    assert browser.post("/admin/api/apitoken/add/", {"name": "ci", "scopes": ["read"], "days": 30}).status_code == 200
    assert ApiToken.objects.count() == 1

    browser.post("/admin/api/apitoken/", {"action": "revoke", "_selected_action": [row.pk]})
    with pytest.raises(IntegrationError, match="E11982"):
        tokens.authenticate(text)
