"""What the engine and the recovery do around the machine, here without Celery.

The names and the order of things are those of `sagas.engine`, `sagas.chain`, `sagas.handover` and `sagas.recovery`; every
``yield`` is a point where the real process could be interrupted.
"""

from __future__ import annotations

import math
from typing import Any

from sagas import events, machine, plan
from sagas.spec import SagaSpec
from sagas.states import DONE, Direction, SagaStatus
from tests.sagas.simulated.messages import Finish, Link, LinkFailed, Message, Theirs
from tests.sagas.simulated.network import Ended, reach
from tests.sagas.simulated.protections import Protections
from tests.sagas.simulated.rows import Loaded, Rows, Saved
from tests.sagas.simulated.target import Request, Target
from tests.sagas.simulated.world import Process, Turns, World

GRACE_SEC, LEASE_SEC = 2.0, 3.0
PATIENCE_SEC = 12.0
LAYER_LIMIT_SEC = 3.0
ERROR = {"code": "E11440", "message": "it was not to be"}


class Shell:
    """One fleet of workers on one database, one queue and one target."""

    def __init__(self, world: World, target: Target, rows: Rows, protections: Protections) -> None:
        self.world, self.target, self.rows, self.on = world, target, rows, protections
        self._messages = 0

    # --- sagas.chain ------------------------------------------------------------------------------------------------

    def send_rest(self, loaded: Loaded, now: float) -> None:
        """Send the rest of the chain from here, one message for each branch."""
        work = self.rows.work(loaded, now)
        if work is None or loaded.run.owner_until is not None:
            return
        for branch in work.branches:
            self._send_link(loaded.row.id, _up_to_a_layer(loaded.spec, branch, work.direction), work.direction)

    def _send_link(self, saga: str, steps: tuple[int, ...], direction: Direction) -> None:
        self._messages += 1
        self.world.send(Link(saga, steps, direction, str(self._messages)))

    def report_death(self, message: Message) -> None:
        """Do what Celery's parent process does when a child dies: sometimes it can tell."""
        if isinstance(message, Link) and self.on.callbacks and self.world.random.random() < 0.5:
            self.world.send(LinkFailed(message.saga, message.task_id))

    # --- sagas.engine -----------------------------------------------------------------------------------------------

    def handle(self, me: Process, message: Message) -> Turns:
        """Work on one message."""
        match message:
            case Link():
                return self._link(me, message)
            case Theirs():
                return self._theirs(message)
            case Finish():
                return self._finish(me, message)
            case LinkFailed():
                return self._link_failed(me, message)

    def _link(self, me: Process, message: Link) -> Turns:
        index, direction = message.steps[0], message.direction
        loaded = self.rows.load(message.saga)
        if not self._is_turn(me, loaded, index, direction):
            return
        if self._lacks_version(me, loaded.spec, index, direction):
            error = {"code": "E11447", "message": "no worker that was asked holds it"}
            yield from self.rows.dispatch(message.saga, events.Blocked(now=me.now(), patience_sec=PATIENCE_SEC, error=error))
        elif _is_handed_over(loaded.spec, index, direction):
            yield from self._begin(me, loaded, index, direction)
        else:
            yield 0
            after = yield from self.run_step(me, loaded, index, direction, message.task_id)
            if after is not None:
                self._follow(me, message, after)

    def _follow(self, me: Process, message: Link, after: Loaded) -> None:
        """Let the chain go on, or fail so that its error callback runs, or send what is not linked behind."""
        index, direction = message.steps[0], message.direction
        if after.run.status is SagaStatus.COMPENSATING and direction is Direction.DO and after.run.steps[index].status not in DONE:
            if self.on.callbacks:
                self.world.send(LinkFailed(message.saga, message.task_id))
            return
        work = self.rows.work(after, me.now())
        if work is not None and work.direction is direction and work.steps[0] in message.steps[1:]:
            if self.on.links:
                self._send_link(message.saga, message.steps[1:], direction)
        else:
            self.send_rest(after, me.now())

    def run_step(self, me: Process, loaded: Loaded, index: int, direction: Direction, task_id: str) -> Turns:
        """Claim, call, record; return None when this was not its turn, or came too late."""
        early = None if self.on.intent else (yield from self._call(me, loaded, index, direction))
        claimed = yield from self._claim(me, loaded, index, direction, task_id)
        if claimed.ignored:
            return None
        ended = early or (yield from self._call(me, claimed, index, direction))
        yield 0
        after = yield from self.rows.dispatch(claimed.row.id, self._event(me, index, claimed.run.steps[index].epoch, ended), claimed)
        return None if after.ignored else after

    def _begin(self, me: Process, loaded: Loaded, index: int, direction: Direction) -> Turns:
        claimed = yield from self._claim(me, loaded, index, direction, "")
        if not claimed.ignored:
            request = self._request(me, claimed, index, direction)
            self.world.send(Theirs(claimed.row.id, index, claimed.run.steps[index].epoch, request))

    def _claim(self, me: Process, loaded: Loaded, index: int, direction: Direction, task_id: str) -> Saved:
        claim = events.Claim(
            step=index,
            direction=direction,
            now=me.now(),
            limit_sec=loaded.spec.steps[index].limit_sec(direction),
            grace_sec=GRACE_SEC,
            lease_sec=LEASE_SEC if self._is_renewed(loaded, index, direction) else math.inf,
            task_id=task_id,
        )
        return (yield from self.rows.dispatch(loaded.row.id, claim, loaded))

    def _is_turn(self, me: Process, loaded: Loaded, index: int, direction: Direction) -> bool:
        work = self.rows.work(loaded, me.now())
        return work is not None and work.direction is direction and work.offers(index)

    def _lacks_version(self, me: Process, spec: SagaSpec, index: int, direction: Direction) -> bool:
        call = spec.steps[index].call(direction)
        return self.on.pinned and call is not None and call.kind == "function" and spec.version not in me.versions

    def _call(self, me: Process, loaded: Loaded, index: int, direction: Direction) -> Turns:
        limit = loaded.spec.steps[index].limit_sec(direction)
        if direction is Direction.DO and plan.heeds_deadline(loaded.spec, loaded.run):
            limit = max(0.001, min(limit, loaded.run.deadline_at - me.now()))
        yield 0
        if self.world.strikes("circuit open"):
            return Ended("held")
        request = self._request(me, loaded, index, direction)
        turns = reach(self.world, self.target, request, limit_sec=limit)
        if loaded.run.steps[index].lease_until is None or not self._is_renewed(loaded, index, direction):
            return (yield from turns)
        return (yield from self._renewing(me, loaded, index, turns, until=me.now() + limit + GRACE_SEC))

    def _is_renewed(self, loaded: Loaded, index: int, direction: Direction) -> bool:
        return not _is_handed_over(loaded.spec, index, direction) and loaded.run.owner_until is None

    # --- sagas.lease --------------------------------------------------------------------------------------------------

    def _renewing(self, me: Process, loaded: Loaded, index: int, turns: Turns, *, until: float) -> Turns:
        """Make a call's turns and renew the lease of its step now and then; who is paused renews nothing."""
        epoch, renew_at = loaded.run.steps[index].epoch, me.now() + LEASE_SEC / 3
        while True:
            try:
                left = next(turns)
            except StopIteration as end:
                return end.value
            while left >= 0:
                pause = min(left, LEASE_SEC / 3)
                yield pause
                left = left - pause or -1
                if me.now() >= renew_at:
                    renew_at = me.now() + LEASE_SEC / 3
                    longer = min(me.now() + LEASE_SEC, until)
                    yield from self.rows.dispatch(loaded.row.id, events.Renewed(step=index, epoch=epoch, now=me.now(), until=longer))

    def _request(self, me: Process, loaded: Loaded, index: int, direction: Direction) -> Request:
        step, state = loaded.spec.steps[index], loaded.run.steps[index]
        call = step.call(direction)
        if call is None:
            raise LookupError(f"{step.step_id} was claimed for {direction}, which it does not have")
        key = f"saga:{loaded.row.id}:{step.step_id}:{direction}" + ("" if self.on.stable_key else f":{state.epoch}")
        version = ""
        if call.kind == "function":
            version = loaded.spec.version if loaded.spec.version in me.versions else max(me.versions)
        return Request(saga=loaded.row.id, step=step.step_id, direction=direction.value, key=key, version=version)

    def _event(self, me: Process, index: int, epoch: int, ended: Ended) -> events.Event:
        now, jitter = me.now(), self.world.random.random()
        if ended.outcome == "ok":
            return events.Succeeded(step=index, epoch=epoch, now=now)
        if ended.outcome == "held":
            return events.Held(step=index, epoch=epoch, now=now, until=now + 2, reason="circuit open")
        outcome: Any = ended.outcome
        return events.Failed(step=index, epoch=epoch, now=now, outcome=outcome, error=ERROR, jitter=jitter)

    # --- sagas.handover, and the layer at its other end ---------------------------------------------------------------

    def _theirs(self, message: Theirs) -> Turns:
        ended = yield from reach(self.world, self.target, message.request, limit_sec=LAYER_LIMIT_SEC)
        if ended.outcome == "failed":
            ended = Ended("unknown")  # a layer says ConnectionError, and another copy of its message may do better
        yield 0
        self.world.send(Finish(message.saga, message.index, message.epoch, ended))

    def _finish(self, me: Process, message: Finish) -> Turns:
        event = self._event(me, message.index, message.epoch, message.ended)
        after = yield from self.rows.dispatch(message.saga, event)
        if not after.ignored:
            self.send_rest(after, me.now())

    # --- sagas.recovery ---------------------------------------------------------------------------------------------

    def sweep(self, me: Process) -> Turns:
        """Let time work on every run that is due, and send the rest of its chain."""
        for saga in self.rows.due(self.world.now):
            tick = events.Tick(now=me.now(), jitter=self.world.random.random())
            after = yield from self.rows.dispatch(saga, tick)
            if not after.ignored:
                self.send_rest(after, me.now())

    def _link_failed(self, me: Process, message: LinkFailed) -> Turns:
        loaded = self.rows.load(message.saga)
        for index, step in enumerate(loaded.run.steps):
            if step.lease_until is not None and step.task_id == message.task_id:
                lost = self._event(me, index, step.epoch, Ended("lost"))
                loaded = yield from self.rows.dispatch(message.saga, lost, loaded)
                break
        self.send_rest(loaded, me.now())

    # --- people -----------------------------------------------------------------------------------------------------

    def ask(self, saga: str, event: events.Event) -> Turns:
        """Cancel, signal, retry, compensate, skip or resolve; what the state does not allow is refused."""
        try:
            after = yield from self.rows.dispatch(saga, event)
        except machine.IllegalMove:
            return
        if not after.ignored:
            self.send_rest(after, event.now)


def _is_handed_over(spec: SagaSpec, index: int, direction: Direction) -> bool:
    call = spec.steps[index].call(direction)
    return call is not None and call.kind == "task"


def _up_to_a_layer(spec: SagaSpec, branch: tuple[int, ...], direction: Direction) -> tuple[int, ...]:
    end = next((at for at, index in enumerate(branch) if _is_handed_over(spec, index, direction)), len(branch))
    return branch[: end + 1]
