"""Dead letters: by cause, one by one, and nothing of a secret on a page."""

from __future__ import annotations

import pytest
from django.urls import reverse

from hub.events import replays
from tests.console.pages import act, dead_letters, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer():
    return person("hub viewer")


def text_of(browser, name, *args):
    answer = browser.get(reverse(name, args=args))
    assert answer.status_code == 200
    return answer.content.decode()


def test_causes_are_listed_the_most_deadly_first(viewer):
    dead_letters(1, fingerprint="a" * 16)
    dead_letters(3, fingerprint="b" * 16)

    html = text_of(viewer, "console:causes")

    assert html.index("b" * 16) < html.index("a" * 16)


def test_the_page_of_a_cause_shows_its_letters_and_its_replays(viewer):
    letter = dead_letters(2)[0]
    replays.start(letter.fingerprint, by="ann")

    html = text_of(viewer, "console:cause", letter.fingerprint)

    assert "2 open dead letters of this cause" in html
    assert "0 of 2" in html
    assert reverse("admin:events_deadletter_change", args=[letter.pk]) in html


def test_the_page_of_a_letter_shows_its_payload_without_its_secrets(viewer):
    letter = dead_letters(payload={"note": "<b>hello</b>", "password": "hunter2hunter2"})[0]

    html = text_of(viewer, "admin:events_deadletter_change", letter.pk)

    assert "&lt;b&gt;hello&lt;/b&gt;" in html
    assert "hunter2" not in html
    assert "<form method" not in html


def test_a_letter_that_was_decided_about_is_offered_nothing():
    operator, letter = person("hub operator"), dead_letters()[0]
    act(operator, "dead-letter", letter.pk, "discard", reason="a test order")

    html = text_of(operator, "admin:events_deadletter_change", letter.pk)

    assert "/act/dead-letter/" not in html
    assert html.count("a test order") == 2
    assert "E11124" in act(operator, "dead-letter", letter.pk, "replay").content.decode()


def test_the_page_of_an_event_shows_no_secret_of_its_payload():
    letter = dead_letters(payload={"password": "canary-hunter2", "order": 7})[0]

    html = person("hub viewer").get(reverse("admin:events_event_change", args=[letter.event.pk])).content.decode()

    assert "canary-hunter2" not in html
    assert "&quot;order&quot;: 7" in html
