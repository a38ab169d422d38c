"""The judge of traces sees what is wrong with one."""

import pytest

from hub.telemetry.values import TraceSpan
from tests.telemetry.trees import tree_problems

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(number, parent="", *, start=0.0, **other):
    values = {
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_span_id": parent and f"{parent:016x}",
        "start": start,
        "end": start + 1,
    }
    return TraceSpan(**{"span_name": f"s{number}", "service_name": "t", **values, **other})


def link(number, trace_id=TRACE):
    return f"00-{trace_id}-{number:016x}-01"


GOOD = [span(1), span(2, 1, start=0.1), span(3, 2, start=0.2, links=(link(2), link(9, "ab" * 16)))]


def test_one_tree_has_no_problems():
    assert tree_problems(GOOD) == []
    assert tree_problems([span(1, 7), span(2, 1)], remote_parent=f"{7:016x}") == []


@pytest.mark.parametrize(
    ("spans", "word"),
    [
        ([], "no spans"),
        ([*GOOD, span(4)], "2 spans without a parent"),
        ([*GOOD, span(4, 99)], "is not there"),
        ([*GOOD, span(4, 1, trace_id="ab" * 16)], "2 trace ids"),
        ([*GOOD, span(3, 1)], "the id of 2 spans"),
        ([span(1), span(2, 3), span(3, 2)], "among its own ancestors"),
        ([span(1, start=5.0), span(2, 1, start=4.0)], "before its parent"),
        ([span(1), span(2, 1, links=(link(9),))], "links to"),
    ],
)
def test_what_is_no_tree_is_said(spans, word):
    assert any(word in problem for problem in tree_problems(spans))


def test_with_a_parent_elsewhere_no_span_is_a_root():
    assert tree_problems([span(1)], remote_parent=f"{7:016x}") == ["1 spans without a parent, not 0: s1"]
