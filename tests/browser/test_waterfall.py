"""Folding a trace's waterfall in a real browser, by mouse and by keyboard."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from hub.telemetry import store
from tests.console.test_traces import DEEP, FAST, ROOT, SLOW, TRACE, span

pytestmark = pytest.mark.django_db(transaction=True)
UNDO = span("undo", 95, 99, number=6, parent=1, links=[f"00-{TRACE}-{DEEP.span_id}-01"])


@pytest.fixture
def tab(visit):
    store.write([ROOT, FAST, SLOW, DEEP, UNDO])
    found = visit()
    found.open(reverse("console:trace", args=[TRACE]))
    return found


def shown(tab):
    lines = tab.page.locator(".hub-row:visible .hub-span-line")
    labels = lines.evaluate_all("found => found.map(one => one.getAttribute('aria-label') || '')")
    return [label.split()[1].rstrip(",") for label in labels]


def fold(tab, name):
    return tab.page.get_by_role("button", name=f"under {name}")


def test_a_subtree_is_folded_away_and_comes_back_as_it_was(tab):
    assert shown(tab) == ["route", "lookup", "charge", "sql", "undo"]

    fold(tab, "charge").click()
    expect(fold(tab, "charge")).to_have_attribute("aria-expanded", "false")
    assert shown(tab) == ["route", "lookup", "charge", "undo"]

    fold(tab, "route").click()
    assert shown(tab) == ["route"]

    fold(tab, "route").click()
    assert shown(tab) == ["route", "lookup", "charge", "undo"]
    assert (tab.complaints, tab.outside, tab.barriers()) == ([], [], [])


def test_the_keyboard_folds_and_a_fold_says_what_failed_under_it(tab):
    fold(tab, "route").focus()
    tab.page.keyboard.press("Space")

    assert shown(tab) == ["route"]
    expect(fold(tab, "route")).to_have_accessible_name("4 spans under route, 1 failed")
    expect(fold(tab, "route")).to_be_focused()

    tab.page.keyboard.press("Enter")
    assert len(shown(tab)) == 5


def test_all_are_folded_but_the_first_level_and_unfolded_again(tab):
    tab.page.get_by_role("button", name="Fold all but the first level").click()
    assert shown(tab) == ["route", "lookup", "charge", "undo"]

    tab.page.get_by_role("button", name="Unfold all").click()
    assert len(shown(tab)) == 5


def test_a_link_leads_to_a_span_that_was_folded_away(tab):
    fold(tab, "charge").click()
    tab.page.locator(".hub-row", has_text="undo").locator("summary").click()

    tab.page.get_by_role("link", name=f"span {DEEP.span_id}").click()

    expect(tab.page.locator(f"#span-{DEEP.span_id} .hub-facts")).to_be_visible()  # the page hears of a new address a moment later
    assert shown(tab) == ["route", "lookup", "charge", "sql", "undo"]


def test_where_the_script_does_not_come_all_is_shown_and_nothing_offers_to_fold(tab):
    tab.page.route("**/waterfall*.js", lambda route: route.abort())
    tab.page.reload()

    assert len(shown(tab)) == 5
    assert tab.page.locator(".hub-fold:visible").count() == 0
