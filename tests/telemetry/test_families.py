"""No two metrics share a name on the page."""

import re

import pytest

from hub.telemetry.families import clashing, that_fit
from tests.processes import ROOT

CALL = re.compile(r"\b(increment|set_gauge|observe)\(\s*\"(hub_\w+)\"")
KINDS = {"increment": "counter", "set_gauge": "gauge", "observe": "histogram"}


def own_metrics():
    texts = (path.read_text() for room in ("hub", "registry_app", "sagas") for path in (ROOT / room).rglob("*.py"))
    return {name: KINDS[call] for text in texts for call, name in CALL.findall(text)}


def test_the_hub_s_own_fit_together():
    own = own_metrics()

    assert len(own) > 20
    assert sorted(that_fit(own, taken=["hub_queue_messages"])) == sorted(own)


@pytest.mark.parametrize(
    ("name", "kind", "other", "its_kind"),
    [
        ("jobs", "counter", "jobs_total", "counter"),
        ("jobs", "gauge", "jobs_total", "counter"),
        ("jobs_total", "gauge", "jobs", "counter"),
        ("wait_count", "gauge", "wait", "histogram"),
        ("wait_sum_total", "counter", "wait", "histogram"),
        ("jobs_created", "gauge", "jobs", "counter"),
    ],
)
def test_samples_have_names_too(name, kind, other, its_kind):
    assert clashing(name, kind, {name: kind, other: its_kind}) == other
    assert clashing(other, its_kind, {name: kind}) == name


def test_metrics_beside_each_other_do_not_clash():
    assert clashing("jobs_done", "gauge", {"jobs": "counter", "jobs_open": "gauge", "jobs_seconds": "histogram"}) is None


def test_of_two_that_clash_a_gauge_gives_way():
    assert that_fit({"jobs": "gauge", "jobs_total": "counter", "level": "gauge", "queue": "gauge"}, taken=["queue"]) == [
        "jobs_total",
        "level",
    ]
