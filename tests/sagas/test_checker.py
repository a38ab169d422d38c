"""The checker is checked: every planted violation is caught in every history it fits, and a good history is left alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.sagas.checker import check
from tests.sagas.history import Definition, Entry, History, Move, Need, Saga, Submission, Violation
from tests.sagas.planted import PLANTED
from tests.sagas.simulation import simulate

SEEDS = range(150)


@pytest.fixture(scope="module")
def good_histories():
    return [simulate(seed) for seed in SEEDS]


def test_good_histories_are_left_alone(good_histories):
    assert [check(history).violations for history in good_histories] == [{}] * len(SEEDS)


@pytest.mark.parametrize(("spoil", "kind"), PLANTED.items(), ids=[spoil.__name__ for spoil in PLANTED])
def test_a_planted_violation_is_caught_wherever_it_fits(good_histories, spoil, kind):
    spoilt = [history for history in map(spoil, good_histories) if history is not None]

    missed = [history for history in spoilt if kind not in check(history).violations]

    assert len(spoilt) >= 5
    assert missed == []


def test_every_kind_of_violation_has_been_planted():
    assert set(PLANTED.values()) == set(Violation)


# --- what must not raise an alarm -----------------------------------------------------------------------------------

DEFINITION = Definition(version="1", steps=("a", "b"), undoable=frozenset({"a", "b"}), optional=frozenset({"a"}))


def told(*moves, step="", saga="g"):
    """Return moves from words: ``told("", "pending", "running")`` is two."""
    return [Move(saga=saga, step=step, old=old, new=new, reason="because") for old, new in pairwise(moves)]


def ledger(*words):
    """Return lines from words such as ``a.do applied``."""
    lines = []
    for seq, word in enumerate(words, start=1):
        effect, event = word.split()
        step, direction = effect.split(".")
        lines.append(Entry(seq=seq, event=event, key=effect, saga="g", step=step, direction=direction, version="1"))
    return lines


def history(status, moves, lines=(), steps=None, definition=DEFINITION):
    return History(
        definitions={"d": definition},
        submissions=[Submission(key="k", outcome="ok")],
        ledger=lines,
        sagas=[Saga(id="g", key="k", definition="d", status=status)],
        steps={("g", step): (steps or {}).get(step, "pending") for step in definition.steps},
        moves=moves,
    )


def test_a_caller_who_was_told_nothing_may_have_started_a_saga_or_not():
    base = history("compensated", told("", "pending", "compensating", "compensated"))

    assert check(replace(base, submissions=[Submission(key="k", outcome="info"), Submission(key="other", outcome="info")])).valid


def test_the_undo_of_a_step_whose_every_request_was_lost_is_right():
    moves = [
        *told("", "pending", "running"),
        *told("pending", "running", "unknown", step="a"),
        *told("running", "compensating"),
        *told("unknown", "compensating", "compensated", step="a"),
        *told("compensating", "compensated"),
    ]

    assert check(history("compensated", moves, ledger("a.undo received", "a.undo applied"), {"a": "compensated"})).valid


def test_a_skipped_step_may_be_missing_and_may_come_late():
    moves = [
        *told("", "pending", "running"),
        *told("pending", "running", "skipped", step="a"),
        *told("pending", "running", "completed", step="b"),
        *told("running", "completed"),
    ]
    steps = {"a": "skipped", "b": "completed"}

    assert check(history("completed", moves, ledger("b.do received", "b.do applied"), steps)).valid
    assert check(history("completed", moves, ledger("b.do received", "b.do applied", "a.do applied"), steps)).valid


def test_an_undo_that_was_given_up_may_arrive_at_any_time():
    moves = [
        *told("", "pending", "running"),
        *told("pending", "running", "completed", step="a"),
        *told("pending", "running", "completed", step="b"),
        *told("running", "compensating"),
        *told("completed", "compensating", "compensation_failed", step="b"),
        *told("completed", "compensating", "compensated", step="a"),
        *told("compensating", "needs_operator"),
    ]
    lines = ledger("a.do applied", "b.do applied", "a.undo applied", "b.undo applied")

    assert check(history("needs_operator", moves, lines, {"a": "compensated", "b": "compensation_failed"})).valid


def test_what_a_person_did_by_hand_leaves_no_line():
    moves = [
        *told("", "pending", "running"),
        *told("pending", "running", "completed", step="a"),
        *told("running", "compensating"),
        *told("completed", "compensating", "compensation_failed", step="a"),
        *told("compensating", "needs_operator", "compensating"),
        Move(saga="g", step="a", old="compensation_failed", new="compensated", reason="by hand: refunded"),
        *told("compensating", "compensated"),
    ]

    assert check(history("compensated", moves, ledger("a.do applied"), {"a": "compensated"})).valid


def test_a_run_resolved_by_hand_is_taken_as_the_person_says():
    moves = [
        *told("", "pending", "needs_operator"),
        Move(saga="g", step="", old="needs_operator", new="completed", reason="by hand: shipped"),
    ]

    assert check(history("completed", moves)).valid


def test_steps_side_by_side_may_begin_in_any_order():
    together = replace(DEFINITION, groups={"a": "g", "b": "g"})
    moves = [
        *told("", "pending", "running"),
        *told("pending", "running", "completed", step="b"),
        *told("pending", "running", "completed", step="a"),
        *told("running", "completed"),
    ]
    lines = ledger("b.do received", "b.do applied", "a.do received", "a.do applied")

    assert check(history("completed", moves, lines, {"a": "completed", "b": "completed"}, together)).valid
    assert not check(history("completed", moves, lines, {"a": "completed", "b": "completed"})).valid


def test_a_note_of_a_late_reply_is_no_move():
    moves = [*told("", "pending", "compensating", "compensated"), Move(saga="g", step="a", old="failed", new="failed", reason="late reply")]

    assert check(history("compensated", moves)).valid


# --- vacuity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lacking", "doubt"),
    [
        ({"need": Need(faults=1)}, "0 faults, 1 needed"),
        ({"need": Need(sagas=2)}, "1 sagas, 2 needed"),
        ({"need": Need(compensated=2)}, "1 compensated sagas, 2 needed"),
        ({"is_quiet": False}, "the rows were read before everything had come to rest"),
    ],
)
def test_a_history_that_exercised_too_little_is_not_valid_but_unknown(lacking, doubt):
    base = history("compensated", told("", "pending", "compensating", "compensated"))

    judgement = check(replace(base, **lacking))

    assert judgement.valid is None
    assert judgement.doubts == (doubt,)


def test_a_violation_outweighs_every_doubt():
    base = history("running", told("", "pending", "running"))

    assert check(replace(base, is_quiet=False)).valid is False


def test_the_figures_say_what_was_judged():
    base = history("compensated", told("", "pending", "compensating", "compensated"))

    figures = check(replace(base, faults={"crash": 2, "pause": 1})).figures

    assert figures == {"faults": 3, "sagas": 1, "sagas compensated": 1}
