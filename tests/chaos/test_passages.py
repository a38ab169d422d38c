"""Which kills a saga needs, read from the trace of an undisturbed run."""

from __future__ import annotations

from hub.testing import passages

TRACE = """\
saga.before_commit - -
saga.after_commit - -
claim.after do 0
call.after do 0
saga.before_commit - -
claim.after do 1
accept.before_commit - -
claim.after do +0
call.after do +0
claim.after do 2
"""


def read():
    return passages.read(TRACE, ["a", "child", "c"])


def test_a_commit_belongs_to_the_step_that_comes_next():
    commits = [passage for passage in read() if passage.point == "saga.before_commit"]

    assert [(passage.nth, passage.step) for passage in commits] == [(1, "a"), (2, "child")]


def test_what_a_child_does_stands_between_its_parents_steps():
    claims = [passage for passage in read() if passage.point == "claim.after"]

    assert [passage.step for passage in claims] == ["a", "child", "child's 0", "c"]
    assert [(passage.place, passage.nth) for passage in claims] == [("do 0", 1), ("do 1", 1), ("do +0", 1), ("do 2", 1)]
    assert [passage.position for passage in claims] == ["first", "", "middle", "last"]


def test_an_accepted_child_belongs_to_the_childs_first_step():
    assert next(passage.step for passage in read() if passage.point == "accept.before_commit") == "child's 0"


def test_what_other_members_of_a_group_do_does_not_count():
    """Where one member fails, another may never begin: the place of an undo must not depend on it."""
    undone = "call.after undo 1\n"
    all_begun, one_left_out = (passages.read(f"call.after do 1\n{more}{undone}", ["a", "b", "c"])[-1] for more in ("call.after do 2\n", ""))

    assert (all_begun.place, all_begun.nth) == (one_left_out.place, one_left_out.nth)
