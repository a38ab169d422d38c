"""Hypothesis tells the machine stories nobody thought of: every state is sound, and every run comes to its end."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sagas import events
from sagas.machine import IllegalMove
from sagas.states import ACTIVE, Direction, SagaStatus
from tests.sagas.pure.invariants import assert_sound, assert_sound_move
from tests.sagas.pure.story import ERROR, GRACE_SEC, Story, saga, step

OUTCOMES = ("refused", "failed", "unknown", "lost")


@dataclass(frozen=True)
class Delivery:
    """A worker that holds (or once held) a step: it may report now, later, twice, or never."""

    step: int
    epoch: int


@st.composite
def specs(draw):
    """Draw a saga of one to four steps, of every kind."""
    count = draw(st.integers(1, 4))
    pivot = draw(st.none() | st.integers(0, count - 1))
    group = draw(st.sampled_from(["", "", "side"]))
    steps = [_step(draw, number, pivot, group) for number in range(count)]
    return saga(*steps, auto_compensate=draw(st.booleans() if pivot is None else st.just(True)), timeout_sec=draw(st.sampled_from([5, 60])))


def _step(draw, number, pivot, group):
    if pivot is not None and number >= pivot:
        kind = "pivot" if number == pivot else "retriable"
        return step(f"s{number}", undo=False, kind=kind, max_retries=draw(st.integers(0, 2)))
    do = draw(st.sampled_from([None, None, None, ("wait", "timer:3"), ("wait", "signal:go"), ("wait", "event:gone")]))
    return step(
        f"s{number}",
        do=do,
        undo=do is None and draw(st.booleans()),
        required=pivot is not None or draw(st.booleans()),
        max_retries=draw(st.integers(0, 2)),
        group=group if number < 2 else "",
        verify=do is None and draw(st.booleans()),
    )


class Sagas(RuleBasedStateMachine):
    """One run in the hands of a careless world."""

    @initialize(spec=specs(), is_driven=st.sampled_from([False, False, True]))
    def begin(self, spec, is_driven):
        self.story = Story(spec=spec, owner_until=1008.0 if is_driven else None)
        self.deliveries: list[Delivery] = []
        self.by_hand: set[int] = set()

    def happens(self, event):
        before = self.story.run
        with suppress(IllegalMove):
            verdict = self.story.apply(event)
            assert_sound_move(self.story.spec, before, event, verdict)
            return not verdict.ignored
        assert self.story.run == before
        return False

    @invariant()
    def is_sound(self):
        if hasattr(self, "story"):
            assert_sound(self.story.spec, self.story.run, now=self.story.now, by_hand=frozenset(self.by_hand))

    # --- workers ------------------------------------------------------------------------------------------------------

    @rule(data=st.data(), direction=st.sampled_from(list(Direction)), lease_sec=st.sampled_from([2.0, math.inf]))
    def a_worker_takes_any_step_at_all(self, data, direction, lease_sec):
        index = data.draw(st.integers(0, len(self.story.spec.steps) - 1))
        self.claim(index, direction, lease_sec)

    @rule(data=st.data())
    def a_worker_takes_the_step_whose_turn_it_is(self, data):
        work = self.story.work
        if work is not None:
            self.claim(data.draw(st.sampled_from(work.branches))[0], work.direction)

    def claim(self, index, direction, lease_sec=math.inf):
        limit = self.story.spec.steps[index].limit_sec(direction)
        claim = events.Claim(step=index, direction=direction, now=self.story.now, limit_sec=limit, grace_sec=GRACE_SEC, lease_sec=lease_sec)
        if self.happens(claim):
            self.deliveries.append(Delivery(index, self.story.run.steps[index].epoch))

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES), retryable=st.booleans())
    def a_worker_or_its_ghost_says_that_it_failed(self, data, outcome, retryable):
        held = data.draw(st.sampled_from(self.deliveries))
        self.happens(events.Failed(step=held.step, epoch=held.epoch, now=self.story.now, outcome=outcome, error=ERROR, retryable=retryable))

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data())
    def a_worker_or_its_ghost_says_that_it_succeeded(self, data):
        held = data.draw(st.sampled_from(self.deliveries))
        self.happens(events.Succeeded(step=held.step, epoch=held.epoch, now=self.story.now))

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), seconds=st.integers(-5, 20))
    def a_worker_or_its_ghost_says_that_it_is_alive(self, data, seconds):
        held = data.draw(st.sampled_from(self.deliveries))
        self.happens(events.Renewed(step=held.step, epoch=held.epoch, now=self.story.now, until=self.story.now + seconds))

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), seconds=st.integers(0, 20))
    def a_worker_or_its_ghost_was_held_back(self, data, seconds):
        held = data.draw(st.sampled_from(self.deliveries))
        self.happens(events.Held(step=held.step, epoch=held.epoch, now=self.story.now, until=self.story.now + seconds, reason="open"))

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data(), answer=st.sampled_from(["did_not", "unknown"]))
    def a_worker_or_its_ghost_asked_whether_it_happened(self, data, answer):
        held = data.draw(st.sampled_from(self.deliveries))
        self.happens(events.Verified(step=held.step, epoch=held.epoch, now=self.story.now, answer=answer))

    @rule(patience_sec=st.sampled_from([0, 30]))
    def nobody_can_begin_it(self, patience_sec):
        self.happens(events.Blocked(now=self.story.now, patience_sec=patience_sec, error=ERROR))

    # --- time ---------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 1, 5, 30, 200]))
    def time_passes_and_the_sweeper_looks(self, seconds):
        self.story.now += seconds
        self.happens(events.Tick(now=self.story.now, jitter=0.5))

    @rule(seconds=st.integers(-20, 20))
    def the_clock_steps(self, seconds):
        self.story.now += seconds

    @rule()
    def its_caller_ticks_and_beats(self):
        self.happens(events.Tick(now=self.story.now, by_owner=True))
        self.happens(events.OwnerBeat(now=self.story.now, until=self.story.now + 8))

    # --- people -------------------------------------------------------------------------------------------------------

    @rule()
    def a_signal_comes(self):
        self.happens(events.Signal(name="signal:go", now=self.story.now))

    @rule(event_id=st.sampled_from("abc"), is_its_own=st.booleans())
    def an_event_comes(self, event_id, is_its_own):
        self.happens(events.EventCame(name="event:gone", event_id=event_id, now=self.story.now, is_its_own=is_its_own))

    @rule()
    def somebody_cancels(self):
        self.happens(events.Cancel(now=self.story.now, reason="no"))

    @rule()
    def an_operator_retries(self):
        self.happens(events.Retry(now=self.story.now, reason="again", deadline_at=self.story.now + 60))

    @rule()
    def an_operator_turns_it_back(self):
        self.happens(events.Compensate(now=self.story.now, reason="back"))

    @rule(data=st.data())
    def an_operator_skips_a_step(self, data):
        index = data.draw(st.integers(0, len(self.story.spec.steps) - 1))
        if self.happens(events.Skip(step=index, now=self.story.now, reason="by hand", deadline_at=self.story.now + 60)):
            self.by_hand.add(index)

    @rule(outcome=st.sampled_from(list(SagaStatus)))
    def an_operator_ends_it(self, outcome):
        if self.happens(events.Resolve(now=self.story.now, reason="by hand", outcome=outcome)):
            self.by_hand.add(-1)

    # --- and in the end -----------------------------------------------------------------------------------------------

    @rule(is_kind=st.booleans())
    def the_world_is_healed(self, is_kind):
        """Everybody does what they should from here on: the run ends, whether its steps succeed or all fail."""
        for _ in range(200):
            if self.story.run.status not in ACTIVE:
                return
            self.story.now = max(self.story.now + 1, self.wake_at())
            self.happens(events.Tick(now=self.story.now))
            self.run_what_is_ready(is_kind)
        raise AssertionError(f"it never ended: {self.story.run}")

    def wake_at(self):
        return self.story.now + min(self.story.wake_in or 0, 1000)

    def run_what_is_ready(self, is_kind):
        work = self.story.work
        if work is None or self.story.run.owner_until is not None:
            return
        index = work.branches[0][0]
        self.claim(index, work.direction)
        epoch = self.story.run.steps[index].epoch
        if is_kind:
            self.happens(events.Succeeded(step=index, epoch=epoch, now=self.story.now))
        else:
            self.happens(events.Failed(step=index, epoch=epoch, now=self.story.now, outcome="unknown", error=ERROR))


Sagas.TestCase.settings = settings(
    max_examples=200, stateful_step_count=30, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
TestSagas = Sagas.TestCase
