"""Pages with links to Flower: nothing is asked of it until somebody clicks, and then in a tab of its own."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.console.test_flower_links import FLOWER, a_reader, performed, routed, somewhere, start

__all__ = ["a_reader", "somewhere"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("somewhere", "a_reader")
def test_flower_is_one_click_away_and_asked_nothing_before(visit):
    run, request = start(), routed(task_id="t-1")
    performed(run, "task-1")
    tab, barriers = visit(), {}
    pages = {
        "queues": reverse("console:queues"),
        "saga": reverse("admin:sagas_sagaexecution_change", args=[run.pk]),
        "request": reverse("admin:routing_routedrequest_change", args=[request.pk]),
    }

    for name, path in pages.items():
        tab.page.set_viewport_size({"width": 1280, "height": 900})
        tab.open(path)
        assert tab.page.locator(f"#content a[href^='{FLOWER}/'][target=_blank]").count() > 0, name
        barriers[name] = tab.barriers()
        tab.page.set_viewport_size({"width": 390, "height": 844})
        assert tab.overflow_px() <= 0, name

    assert tab.page.locator(f"nav a[href='{FLOWER}/']").count() == 1
    assert (tab.complaints, tab.outside) == ([], [])
    assert {name: found for name, found in barriers.items() if found} == {}
