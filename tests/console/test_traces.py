"""Traces: the list with its filters, and one trace as a waterfall."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hub.console.traces import compare, find, waterfall
from hub.telemetry import store
from hub.telemetry.values import TraceSpan
from sagas.models import SagaExecution
from tests.console.pages import failed_saga, person

pytestmark = pytest.mark.django_db
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACE = "a" * 32


def span(name, start_ms, end_ms, *, number=1, parent=0, trace=TRACE, **fields):
    return TraceSpan(
        span_name=name,
        trace_id=trace,
        span_id=f"{number:016x}",
        parent_span_id=f"{parent:016x}" if parent else "",
        start=BEGAN + timedelta(milliseconds=start_ms),
        end=BEGAN + timedelta(milliseconds=end_ms),
        **{"service_name": "L02_runtime", **fields},
    )


ROOT = span("route", 0, 100, number=1)
FAST = span("lookup", 5, 10, number=2, parent=1, service_name="L03_tools")
SLOW = span("charge", 10, 90, number=3, parent=1, status="error", status_message="card refused")
DEEP = span("sql", 20, 85, number=4, parent=3)


@pytest.fixture
def viewer():
    return person("hub viewer")


def names(found):
    return [(row.span.span_name, row.depth) for row in found.rows]


def test_spans_lie_under_their_parents_in_order_of_start():
    assert names(waterfall.build([DEEP, SLOW, FAST, ROOT])) == [("route", 0), ("lookup", 1), ("charge", 1), ("sql", 2)]


def test_a_bar_lies_where_its_span_was():
    found = {row.span.span_name: (row.left, row.width) for row in waterfall.build([ROOT, FAST, SLOW]).rows}

    assert found == {"route": (0, 100), "lookup": (5, 5), "charge": (10, 80)}


def test_the_critical_path_is_what_ended_last():
    assert [row.span.span_name for row in waterfall.build([ROOT, FAST, SLOW, DEEP]).rows if row.is_critical] == ["route", "charge", "sql"]


def test_the_critical_path_leads_to_what_a_message_set_off_later():
    sent, own = span("process hub", 0, 5, number=1), span("insert", 1, 4, number=2, parent=1)
    saga, last = span("saga", 2, 2, number=3, parent=1), span("undo", 80, 90, number=4, parent=3)

    found = waterfall.build([sent, own, saga, last])

    assert [row.span.span_name for row in found.rows if row.is_critical] == ["process hub", "saga", "undo"]


def test_each_row_counts_what_can_be_folded_under_it():
    found = waterfall.build([ROOT, FAST, SLOW, DEEP])

    assert [(row.span.span_name, row.below, row.errors_below) for row in found.rows] == [
        ("route", 3, 1),
        ("lookup", 0, 0),
        ("charge", 1, 0),
        ("sql", 0, 0),
    ]


def test_what_is_filtered_out_is_not_counted():
    found = waterfall.build([ROOT, FAST, SLOW, DEEP], keep=lambda one: one.status == "error")

    assert [(row.below, row.errors_below) for row in found.rows] == [(1, 1), (0, 0)]


def test_what_leads_to_a_kept_span_stays():
    found = waterfall.build([ROOT, FAST, SLOW, DEEP], keep=lambda one: one.status == "error")

    assert names(found) == [("route", 0), ("charge", 1)]
    assert found.left_out == 2


def test_a_span_whose_parent_is_not_stored_is_shown_and_said_to_be():
    found = waterfall.build([SLOW, DEEP])

    assert [(row.span.span_name, row.depth, row.is_orphan) for row in found.rows] == [("charge", 0, True), ("sql", 1, False)]


def test_spans_that_name_each_other_as_parents_are_all_shown():
    ring = [span("x", 0, 1, number=7, parent=8), span("y", 0, 1, number=8, parent=7)]

    assert len(waterfall.build([ROOT, *ring]).rows) == 3


def test_a_very_deep_trace_is_no_problem():
    chain = [span("deep", i, 5_000, number=i + 1, parent=i) for i in range(3_000)]

    assert len(waterfall.build(chain).rows) == 3_000


def test_the_page_shows_the_trace_and_filters_it(viewer):
    store.write([ROOT, FAST, SLOW, DEEP])
    page = reverse("console:trace", args=[TRACE])

    html = viewer.get(page).content.decode()
    assert [name for name in ("route", "lookup", "charge", "sql", "card refused") if name not in html] == []
    assert "1 span failed" in html

    assert [row.span.span_name for row in viewer.get(page, {"errors": "1"}).context["rows"]] == ["route", "charge"]
    assert [row.span.span_name for row in viewer.get(page, {"service": "L03_tools"}).context["rows"]] == ["route", "lookup"]


def test_a_filter_keeps_the_other_and_chosen_again_is_taken_back(viewer):
    store.write([ROOT, FAST])

    found = viewer.get(reverse("console:trace", args=[TRACE]), {"service": "L03_tools"}).context["filters"]

    assert [(one.words, one.query, one.is_on) for one in found] == [
        ("All", "", False),
        ("Errors only", "errors=1&service=L03_tools", False),
        ("L02_runtime", "service=L02_runtime", False),
        ("L03_tools", "", True),
    ]


def test_a_span_tells_when_it_began_what_happened_in_it_and_what_it_links_to(viewer):
    raised = {"name": "exception", "attributes": {"exception.message": "<b>no card</b>"}}
    links = [f"00-{TRACE}-{2:016x}-01", f"00-{'c' * 32}-{9:016x}-01", "nonsense"]
    store.write([ROOT, FAST, span("undo", 20, 30, number=5, parent=1, events=[raised], links=links)])

    html = viewer.get(reverse("console:trace", args=[TRACE])).content.decode()

    assert "20.0 ms into the trace" in html
    assert "exception.message" in html
    assert "&lt;b&gt;no card&lt;/b&gt;" in html
    assert f'href="#span-{2:016x}"' in html
    assert f'href="{reverse("console:trace", args=["c" * 32])}#span-{9:016x}"' in html


def test_a_trace_leads_to_its_saga_and_back(viewer):
    run = failed_saga()
    store.write([span("step", 0, 5, trace=run.trace_id)])
    saga_page = reverse("admin:sagas_sagaexecution_change", args=[run.pk])

    assert saga_page in viewer.get(reverse("console:trace", args=[run.trace_id])).content.decode()
    assert reverse("console:trace", args=[run.trace_id]) in viewer.get(saga_page).content.decode()


def test_the_download_holds_every_span(viewer):
    store.write([ROOT, SLOW])

    answer = viewer.get(reverse("console:trace-json", args=[TRACE]))

    assert [one["span_name"] for one in json.loads(answer.content)["spans"]] == ["route", "charge"]
    assert "attachment" in answer["Content-Disposition"]


def test_a_trace_that_is_not_there_is_not_found(viewer):
    assert viewer.get(reverse("console:trace", args=["b" * 32])).status_code == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {"route", "other"}),
        ({"errors": "1"}, {"route"}),
        ({"service": "L09"}, {"other"}),
        ({"q": TRACE}, {"route"}),
        ({"q": "order-7"}, {"other"}),
        ({"min_ms": "50"}, {"route"}),
        ({"min_ms": "nonsense", "before": "yesterday"}, {"route", "other"}),
        ({"before": "2020-01-01T00:00:00+00:00"}, set()),
    ],
)
def test_the_list_finds_traces(viewer, query, expected):
    other = span("other", 200, 210, trace="b" * 32, service_name="L09", attributes={"hub.correlation_id": "order-7"})
    store.write([ROOT, SLOW, other])

    found = viewer.get(reverse("console:traces"), query).context["page"]

    assert {line.name for line in found.lines} == expected


def test_older_traces_are_on_the_next_page(viewer):
    store.write([span("one", number * 10, number * 10 + 1, trace=f"{number + 1:032x}") for number in range(70)])

    first = viewer.get(reverse("console:traces"))
    second = viewer.get(f"{reverse('console:traces')}?{first.context['older']}")

    shown = [{line.trace_id for line in answer.context["page"].lines} for answer in (first, second)]
    assert ([len(one) for one in shown], shown[0] & shown[1], second.context["older"]) == ([50, 20], set(), "")


def test_what_is_older_than_a_trace_of_many_spans_can_be_reached(viewer):
    large = [span("large", 1_000 + number, 1_001 + number, number=number + 1) for number in range(2 * find.READ)]
    store.write([span("old", 0, 1, trace="b" * 32), *large])

    query, shown = "", []
    for _ in range(4):
        answer = viewer.get(f"{reverse('console:traces')}?{query}")
        query = answer.context["older"]
        shown += [line.trace_id for line in answer.context["page"].lines]

    assert "b" * 32 in shown


def test_pages_cost_the_same_for_one_row_as_for_fifty(viewer):
    store.write([ROOT])
    for page in (reverse("console:traces"), reverse("console:trace", args=[TRACE])):
        counts = []
        for more in (0, 0, 49):
            store.write([span("more", 1, 2, number=i + 10, parent=1) for i in range(more)])
            store.write([span("else", 1, 2, trace=f"{i + 1:032x}") for i in range(more)])
            with CaptureQueriesContext(connection) as seen:
                viewer.get(page)
            counts.append(len(seen))
        assert counts[1] == counts[2] <= 25


def test_traces_are_not_for_everybody(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))
    store.write([ROOT])

    for page in (reverse("console:traces"), reverse("console:trace", args=[TRACE]), reverse("console:trace-json", args=[TRACE])):
        assert client.get(page).status_code == 403


def test_a_trace_is_compared_with_the_last_good_run_of_the_same_saga(viewer):
    failed, good = failed_saga(), failed_saga()
    SagaExecution.objects.filter(pk=good.pk).update(status="completed")
    store.write(
        [span("charge", 0, 100, number=1, trace=failed.trace_id, status="error"), span("wait", 0, 9, number=2, trace=failed.trace_id)]
    )
    store.write([span("charge", 0, 10, number=1, trace=good.trace_id), span("ship", 10, 20, number=2, trace=good.trace_id)])

    html = viewer.get(reverse("console:trace-compare", args=[failed.trace_id])).content.decode()

    assert str(good) in html
    verdicts = re.findall(r'class="hub-tag[^"]*">([^<]+)<', html)
    assert verdicts == ["failed", "missing here", "only here", "alike"]  # alike: the span that stands for the saga itself


def test_without_a_good_run_it_says_so(viewer):
    run = failed_saga()
    store.write([span("charge", 0, 100, trace=run.trace_id), ROOT])

    assert "No run of no_undo completed lately" in viewer.get(reverse("console:trace-compare", args=[run.trace_id])).content.decode()
    assert "not that of a saga" in viewer.get(reverse("console:trace-compare", args=[TRACE])).content.decode()


def test_what_took_much_longer_is_slower_and_a_little_is_alike():
    slow, same = span("a", 0, 100), span("b", 0, 10, number=2)

    found = compare.compare([slow, same], [span("a", 0, 10), span("b", 0, 9, number=2)])

    assert [(one.name, one.verdict) for one in found] == [("a", "slower"), ("b", "alike")]
