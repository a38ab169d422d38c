"""Why it is stuck, case by case."""

from dataclasses import replace

import pytest

from hub.diagnosis.facts import CircuitFacts, QueueFacts, RequestFacts, SagaFacts, StepFacts
from hub.diagnosis.rules import why_request, why_saga

NOON = 1_700_049_600.0  # 12:00:00 UTC
STEP = StepFacts(step_id="tools", kind="task", call="task l04 l04.reserve", undoing=False, tries=1, most_tries=4)
UNREAD = QueueFacts(name="l04", ready=1, readers=0, last_read_at=NOON - 100)
READ = QueueFacts(name="l04", ready=3, readers=2)
HUB = QueueFacts(name="hub.sagas", ready=0, readers=1)
RUN = SagaFacts(
    now=NOON, status="running", is_final=False, since=NOON - 41, step=STEP, next_wake_at=NOON + 2, deadline_at=NOON + 60, messages=HUB
)


def run(**changes):
    return replace(RUN, **changes)


def step(**changes):
    return run(step=replace(STEP, **changes))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            replace(step(queue=UNREAD), blocked_at=NOON - 10, blocked_reason="E11451: no live worker", patience_sec=15.0),
            "waiting 41 s: queue l04 has no consumer since 11:58:20; the sweeper parks it at 12:00:05",
        ),
        (
            run(blocked_at=NOON - 10, blocked_reason="E11434: order:7 is held by another run"),
            "waiting 41 s: E11434: order:7 is held by another run; "
            "the sweeper looks again at 12:00:02 (the saga's time is over at 12:01:00)",
        ),
        (
            step(lease_until=NOON + 9, queue=UNREAD),
            "waiting 41 s: queue l04 has no consumer since 11:58:20; it is given up at 12:00:09",
        ),
        (
            step(lease_until=NOON + 9, queue=replace(UNREAD, last_read_at=None)),
            "waiting 41 s: queue l04 has no consumer and had none in the last 30 days; it is given up at 12:00:09",
        ),
        (
            step(lease_until=NOON + 9, queue=READ),
            "waiting 41 s: step tools was sent to queue l04, in which 3 messages wait; it is given up at 12:00:09",
        ),
        (
            step(lease_until=NOON + 9),
            "waiting 41 s: step tools runs: task l04 l04.reserve; "
            "it is given up at 12:00:09 unless its worker says before that it is alive",
        ),
        (
            step(lease_until=NOON + 9, undoing=True, queue=replace(READ, ready=0)),
            "waiting 41 s: the undo of tools runs: task l04 l04.reserve; it is given up at 12:00:09",
        ),
        (
            step(lease_until=NOON + 9, kind="saga", child="c-1, which is running"),
            "waiting 41 s: step tools waits for the child saga c-1, which is running; the child's end is taken up when it comes",
        ),
        (
            replace(step(lease_until=NOON - 3), next_wake_at=NOON - 3, deadline_at=None),
            "waiting 41 s: nothing was heard of step tools before its lease ended at 11:59:57; the sweeper gives it up at 12:00:00",
        ),
        (
            replace(step(lease_until=NOON - 30), next_wake_at=NOON - 30),
            "waiting 41 s: nothing was heard of step tools before its lease ended at 11:59:30; "
            "the sweeper should have looked 30 s ago: is `manage.py relay` running?",
        ),
        (
            step(due_at=NOON + 3, error="E11340 refused"),
            "waiting 41 s: step tools failed (E11340 refused); try 2 of 4 is at 12:00:03",
        ),
        (
            step(due_at=NOON + 3, circuit=CircuitFacts(service="L04", state="open", until=NOON + 5, why="5 failures in a row")),
            "waiting 41 s: the circuit of L04 is open until 12:00:05 (5 failures in a row); step tools is tried again at 12:00:03",
        ),
        (
            step(due_at=NOON + 3, held="every instance of L03 is in maintenance"),
            "waiting 41 s: step tools is held: every instance of L03 is in maintenance; try 2 of 4 is at 12:00:03",
        ),
        (step(due_at=NOON + 3), "waiting 41 s: step tools is not due yet; try 2 of 4 is at 12:00:03"),
        (
            step(due_at=NOON + 3600, waiting_for="signal:approved"),
            "waiting 41 s: step tools waits for signal:approved; it is given up at 13:00:00",
        ),
        (step(due_at=NOON + 3, waiting_for="timer"), "waiting 41 s: step tools is a timer; it ends at 12:00:03"),
        (step(due_at=NOON + 3 * 86_400, waiting_for="timer"), "waiting 41 s: step tools is a timer; it ends at 2023-11-18 12:00:00"),
        (
            run(messages=replace(HUB, readers=0, ready=4)),
            "waiting 41 s: queue hub.sagas has no consumer and had none in the last 30 days; it goes on when a worker of the hub reads it",
        ),
        (
            run(messages=replace(HUB, ready=4), deadline_at=None),
            "waiting 41 s: its message is one of 4 in queue hub.sagas; the sweeper looks again at 12:00:02",
        ),
        (run(messages=None, deadline_at=None), "waiting 41 s: work lies ready; the sweeper looks again at 12:00:02"),
        (
            run(owner_until=NOON + 8),
            "waiting 41 s: its caller drives it and is alive; counts as dead at 12:00:08 unless it says otherwise",
        ),
        (
            run(owner_until=NOON - 1, deadline_at=None, next_wake_at=NOON - 1),
            "waiting 41 s: the process that drove it is gone; the sweeper parks it at 12:00:00",
        ),
        (run(status="completed", is_final=True, since=NOON - 7300), "not stuck: completed for 2 h"),
        (
            run(status="needs_operator", is_final=True, error="E11444 release is used up"),
            "before an operator for 41 s: E11444 release is used up; nothing happens until somebody decides",
        ),
        (
            run(status="needs_operator", is_final=True, error="E11444 the bank is closed", undo_failed="pay"),
            "before an operator for 41 s: the undo of pay failed (E11444 the bank is closed); nothing happens until somebody decides",
        ),
        (
            run(status="needs_operator", is_final=True, blocked_at=NOON - 60, blocked_reason="E11451: no worker knows l04.reserve"),
            "before an operator for 41 s: E11451: no worker knows l04.reserve; it is sent on by itself when that is no longer so",
        ),
    ],
)
def test_a_saga_says_what_it_waits_for_and_what_comes_next(facts, words):
    assert str(why_saga(facts)) == words


NOTHING = RequestFacts(now=NOON)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            replace(NOTHING, place_in_queue=3, sent_at=NOON - 41, queue=replace(UNREAD, name="hub", ready=10)),
            "waiting 41 s: queue hub has no consumer since 11:58:20; it goes on when a worker reads that queue",
        ),
        (
            replace(NOTHING, place_in_queue=3, queue=replace(READ, name="hub", ready=10)),
            "waiting: its message is number 3 of 10 in queue hub",
        ),
        (replace(NOTHING, claimed_until=NOON + 30), "under way: a worker has it; its key is free again at 12:00:30 at the latest"),
        (
            replace(NOTHING, claimed_until=NOON - 1),
            "not under way any more: the process that sent it was lost; its claim ended at 11:59:59; "
            "asked for again under its key, it is sent again",
        ),
        (
            replace(NOTHING, ended="GET L02/x: 200 (good answer) after 12 ms", ended_at=NOON - 3),
            "not stuck: ended 3 s ago: GET L02/x: 200 (good answer) after 12 ms",
        ),
        (replace(NOTHING, result="FAILURE"), "not stuck: its result is FAILURE"),
    ],
)
def test_a_request_says_where_it_is(facts, words):
    assert str(why_request(facts)) == words


def test_of_a_request_that_left_no_trace_nothing_is_said():
    assert why_request(NOTHING) is None
