"""The chart of a saga, from its moves alone."""

from __future__ import annotations

import pytest

from hub.console.saga import drawing, gantt
from hub.console.saga.gantt import Move


def moves(*given):
    return [Move(step_id=step, at=at, old=old, new=new, reason=reason) for step, at, old, new, reason in given]


def kinds(chart):
    return [(bar.row, bar.kind, bar.start, bar.end) for bar in chart.bars]


STRAIGHT = moves(
    ("a", 1, "pending", "running", "attempt 1"),
    ("a", 3, "running", "completed", ""),
    ("b", 3, "pending", "running", "attempt 1"),
    ("b", 4, "running", "waiting", "E11440: broken"),
    ("b", 6, "waiting", "running", "attempt 2"),
    ("b", 7, "running", "failed", "E11440: broken"),
    ("a", 8, "completed", "compensating", "undo attempt 1"),
    ("a", 9, "compensating", "compensated", ""),
)


def test_each_attempt_wait_and_undo_is_a_bar():
    chart = gantt.chart(["a", "b"], STRAIGHT, ready_at=[1], now=20)

    assert [bar for bar in kinds(chart) if bar[1] != "queue"] == [
        (0, "done", 1, 3),
        (0, "undone", 8, 9),
        (1, "failed", 3, 4),
        (1, "wait", 4, 6),
        (1, "failed", 6, 7),
    ]


def test_attempts_carry_their_number():
    chart = gantt.chart(["a", "b"], STRAIGHT, ready_at=[1], now=20)

    assert [bar.label for bar in chart.bars if bar.kind == "failed"] == ["1", "2"]


def test_time_between_two_things_is_time_in_the_queue():
    chart = gantt.chart(["a", "b"], STRAIGHT, ready_at=[0], now=20)

    assert [bar for bar in kinds(chart) if bar[1] == "queue"] == [(0, "queue", 0, 1), (0, "queue", 7, 8)]


def test_an_undo_points_to_what_it_undoes():
    chart = gantt.chart(["a", "b"], STRAIGHT, ready_at=[1], now=20)

    assert [(arrow.undo.start, arrow.undoes.end) for arrow in chart.arrows] == [(8, 3)]


def test_what_has_not_ended_reaches_to_now():
    chart = gantt.chart(["a"], STRAIGHT[:1], ready_at=[1], now=20)

    assert kinds(chart) == [(0, "running", 1, 20)]


def test_a_late_reply_is_no_bar():
    late = moves(("a", 5, "completed", "completed", "late reply"))

    chart = gantt.chart(["a"], [*STRAIGHT[:2], *late], ready_at=[1], now=20)

    assert kinds(chart) == [(0, "done", 1, 3)]


@pytest.mark.parametrize(
    ("after", "kind"),
    [("completed", "done"), ("unknown", "unknown"), ("failed", "failed"), ("skipped", "failed"), ("waiting", "failed")],
)
def test_how_an_attempt_ended_is_its_kind(after, kind):
    chart = gantt.chart(["a"], moves(("a", 0, "pending", "running", "attempt 1"), ("a", 1, "running", after, "")), ready_at=[0], now=1)

    assert chart.bars[0].kind == kind


def test_an_undo_that_an_operator_sent_again_is_a_second_bar():
    again = moves(
        ("a", 8, "completed", "compensating", ""),
        ("a", 9, "compensating", "compensation_failed", "E11440: closed"),
        ("a", 20, "compensation_failed", "compensating", "open again"),
        ("a", 21, "compensating", "compensated", ""),
    )

    chart = gantt.chart(["a"], [*STRAIGHT[:2], *again], ready_at=[1], now=30)

    assert [bar.kind for bar in chart.bars if bar.kind in gantt.UNDO] == ["undo_failed", "undone"]


def test_bars_lie_in_the_order_of_time_and_within_the_picture():
    drawn = drawing.draw(gantt.chart(["a", "b"], STRAIGHT, ready_at=[1], now=20), began_at=1)

    assert all(box.x >= drawing.LEFT and box.x + box.width <= drawing.WIDTH for box in drawn.boxes)
    done, undone = (next(box for box in drawn.boxes if box.kind == kind) for kind in ("done", "undone"))
    assert done.x + done.width < undone.x


def test_a_night_in_which_nothing_happened_leaves_room_for_the_rest():
    night = moves(("a", 40_000, "completed", "compensating", ""), ("a", 40_002, "compensating", "compensated", ""))

    drawn = drawing.draw(gantt.chart(["a"], [*STRAIGHT[:2], *night], ready_at=[1, 39_999], now=1), began_at=1)

    done, undone = (next(box for box in drawn.boxes if box.kind == kind) for kind in ("done", "undone"))
    assert (done.width, undone.width) > (200, 200)
    assert [cut.text for cut in drawn.cuts] == ["11.1 h idle"]


def test_a_run_that_has_done_nothing_is_drawn_too():
    drawn = drawing.draw(gantt.chart(["a"], [], ready_at=[5], now=5), began_at=5)

    assert (drawn.boxes, [row.text for row in drawn.rows]) == ((), ["a"])


@pytest.mark.parametrize(("seconds", "words"), [(0.0123, "12 ms"), (1.5, "1.5 s"), (90, "1.5 min"), (5400, "1.5 h"), (129_600, "1.5 d")])
def test_durations_are_said_as_people_say_them(seconds, words):
    assert drawing.in_words(seconds) == words
