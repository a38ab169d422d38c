"""A caller that drives its own run in its own process, as in `sagas.local`."""

from __future__ import annotations

from sagas import events
from sagas.states import ACTIVE
from tests.sagas.simulated.shell import Shell
from tests.sagas.simulated.world import Process, Turns

OWNER_SEC = 8.0
BEAT_SEC = 2.0
LOOK_SEC = 0.2


def drive(shell: Shell, me: Process, saga: str) -> Turns:
    """Run a saga to its end, beating on its row all the while."""
    beat_at = 0.0
    for pause in _run(shell, me, saga):
        left = pause
        while True:
            if me.now() >= beat_at:
                yield from shell.rows.dispatch(saga, events.OwnerBeat(now=me.now(), until=me.now() + OWNER_SEC))
                beat_at = me.now() + BEAT_SEC
            yield min(left, BEAT_SEC)
            left -= BEAT_SEC
            if left <= 0:
                break


def _run(shell: Shell, me: Process, saga: str) -> Turns:
    while True:
        tick = events.Tick(now=me.now(), jitter=shell.world.random.random(), by_owner=True)
        loaded = yield from shell.rows.dispatch(saga, tick)
        if loaded.run.status not in ACTIVE:
            return
        work = shell.rows.work(loaded, me.now())
        if work is None:
            yield LOOK_SEC
        else:
            branch = shell.world.random.choice(work.branches)
            yield from shell.run_step(me, shell.rows.load(saga), branch[0], work.direction, "")
