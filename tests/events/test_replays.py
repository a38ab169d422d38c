"""The past of the stream for a subscription, with a real Redis; the subscriber's answers are given by hand."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import connection

from hub.events import deadletters, intake, replays, retention, stream
from hub.events.models import DeadLetter, Delivery, ReplayRun
from hub.events.roster import Roster
from hub.redis_client import client
from tests.events.helpers import deliver_all, fail_all, fail_until_dead, now, publish, relay_round, send_again, subscribed

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_new_subscription_can_have_the_past():
    from hub.events import subscriptions
    from hub.events.targets import TaskTarget

    begin = now(minutes=-1)
    subscribed("first")
    publish("agent.a", "order.b", "agent.c")
    relay_round()
    subscriptions.subscribe("late", "agent.*", TaskTarget(task="l04.run", queue="l04"))

    assert replays.from_time("late", begin) == 2
    assert replays.from_time("late", begin) == 0
    deliver_all()
    send_again()
    deliver_all()
    assert replays.from_time("late", begin, again=True) == 2


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+00:00", "1969-12-31T23:59:59+00:00", "1970-01-01T00:00:00+00:00"])
def test_the_past_may_be_asked_for_from_the_beginning_of_time(since):
    subscribed()
    publish()

    assert replays.from_time("l03", datetime.fromisoformat(since)) == 1
    assert replays.from_time("l03", datetime.fromisoformat(since), again=True) == 0


def test_what_is_replayed_again_has_all_its_attempts_however_old_it_is():
    subscribed(max_age_sec=60)
    publish()
    relay_round()
    deliver_all()
    Delivery.objects.update(created_at=now(hours=-2), finished_at=now(hours=-2))

    replays.from_time("l03", now(hours=-3), again=True)
    send_again()
    fail_all()

    assert not DeadLetter.objects.exists()
    assert max(retention.oldest_open(now=now()).values()) < 60


def test_an_edited_event_does_not_come_back_uncorrected():
    begin = now(minutes=-1)
    subscribed(max_attempts=1)
    [event_id] = publish()
    relay_round()
    fail_until_dead()
    deadletters.edit_and_replay(DeadLetter.objects.get().pk, {"agent_id": "mended"}, by="ann")

    assert replays.from_time("l03", begin) == 0
    send_again(seconds=1)
    deliver_all()
    assert replays.from_time("l03", begin, again=True) == 1
    intake.take(client().xrange(stream.STREAM), Roster(), now=now())  # as after a loss of what Redis knew of the relay

    assert list(Delivery.objects.values_list("event__causation_id", flat=True)) == [event_id]


def test_who_did_not_edit_an_event_gets_it_as_it_was():
    begin = now(minutes=-1)
    subscribed(max_attempts=1)
    publish()
    relay_round()
    fail_until_dead()
    deadletters.edit_and_replay(DeadLetter.objects.get().pk, {"agent_id": "mended"}, by="ann")
    subscribed("late")

    assert replays.from_time("late", begin) == 1


def test_a_subscription_that_is_removed_meanwhile_does_not_end_the_relay():
    subscribed(max_attempts=1)
    publish()
    relay_round()
    fail_until_dead()
    replays.start(DeadLetter.objects.get().fingerprint, by="ann")

    def removed(execute, sql, *rest):
        if sql.startswith('UPDATE "events_replayrun"'):
            DeadLetter.objects.all().delete()
        return execute(sql, *rest)

    with connection.execute_wrapper(removed):
        assert replays.advance(now=now()) == 0
    replays.advance(now=now(seconds=1))
    replays.advance(now=now(seconds=2))

    assert ReplayRun.objects.get().status == "done"
