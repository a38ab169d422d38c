import json
import threading
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from hub.errors import IntegrationError
from hub.events import deadletters, dispatch, replays
from hub.events.models import DeadLetter, Delivery, Event, ReplayRun
from tests.events.helpers import deliver_all, fail_until_dead, now, publish, relay_round, send_again, subscribed, under_way

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def letters():
    """Three dead letters of one cause, oldest first."""
    subscribed(max_attempts=1)
    publish("agent.a", "agent.b", "agent.c")
    relay_round()
    fail_until_dead("KeyError: 'name'")
    return list(DeadLetter.objects.order_by("id"))


def test_letters_of_one_cause_are_one_group(letters):
    [group] = deadletters.groups()

    assert (group.count, group.subscription, group.error) == (3, "l03", "KeyError: 'name'")
    assert group.sample_id == letters[0].pk


def test_a_group_of_one_does_not_begin_after_its_end():
    subscribed(max_attempts=1)
    publish()
    relay_round()
    fail_until_dead()

    [group] = deadletters.groups()

    assert group.first_at <= group.last_at


def test_a_replayed_letter_is_delivered_again_and_then_resolved(letters):
    deadletters.replay(letters[0].pk, by="ann")
    send_again(seconds=1)
    [row] = under_way()
    dispatch.answer_delivered(row.pk)

    letter = deadletters.find(letters[0].pk)
    assert (letter.status, letter.decided_by, row.event_id) == ("resolved", "ann", letter.event_id)
    assert Delivery.objects.filter(status="delivered").count() == 1


def test_a_letter_that_fails_again_is_open_again_and_no_second_one(letters):
    deadletters.replay(letters[0].pk, by="ann")
    send_again(seconds=1)
    fail_until_dead("KeyError: 'name'")

    letter = deadletters.find(letters[0].pk)
    assert (letter.status, letter.deaths) == ("open", 2)
    assert DeadLetter.objects.count() == 3


def test_an_edited_letter_is_delivered_with_the_new_payload_and_the_old_event_is_kept(letters):
    old = letters[0].event

    letter = deadletters.edit_and_replay(letters[0].pk, {"name": "mended"}, by="ann")
    send_again(seconds=1)

    [row] = under_way()
    assert row.event.body["data"] == {"name": "mended"}
    assert row.event.causation_id == old.event_id
    assert letter.event == old
    assert letter.edited_event == row.event
    assert Event.objects.filter(pk=old.pk).exists()


@pytest.mark.parametrize(("payload", "code"), [([1], "E11103"), ({"a": float("nan")}, "E11905"), ({"a": "x" * 300_000}, "E11160")])
def test_an_edit_that_is_no_event_changes_nothing(letters, payload, code):
    with pytest.raises(IntegrationError) as caught:
        deadletters.edit_and_replay(letters[0].pk, payload, by="ann")

    assert caught.value.code == code
    assert deadletters.find(letters[0].pk).status == "open"


def test_a_letter_is_discarded_with_a_reason_only(letters):
    with pytest.raises(IntegrationError, match="E11901"):
        deadletters.discard(letters[0].pk, reason=" ", by="ann")

    letter = deadletters.discard(letters[0].pk, reason="a test agent", by="ann")

    assert (letter.status, letter.reason, letter.delivery.status) == ("discarded", "a test agent", "discarded")


def test_of_two_decisions_the_second_is_told(letters):
    deadletters.replay(letters[0].pk, by="ann")

    with pytest.raises(IntegrationError) as caught:
        deadletters.discard(letters[0].pk, reason="late", by="bob")

    assert caught.value.code == "E11124"
    with pytest.raises(IntegrationError, match="E11123"):
        deadletters.replay(999_999, by="ann")


def test_a_group_is_replayed_at_its_rate(letters):
    run = replays.start(letters[0].fingerprint, by="ann", rate_per_sec=1)
    begun = run.started_at

    assert replays.advance(now=begun) == 1
    assert replays.advance(now=begun + timedelta(seconds=0.5)) == 0
    assert replays.advance(now=begun + timedelta(seconds=1.1)) == 1
    assert replays.advance(now=begun + timedelta(seconds=60)) == 1
    send_again(minutes=1)
    deliver_all()
    replays.advance(now=now())

    run.refresh_from_db()
    assert (run.status, run.released) == ("done", 3)
    assert set(DeadLetter.objects.values_list("status", flat=True)) == {"resolved"}


def test_what_was_not_released_while_the_relays_were_away_does_not_go_out_at_once(letters):
    run = replays.start(letters[0].fingerprint, by="ann", rate_per_sec=1)
    assert replays.advance(now=run.started_at) == 1

    assert replays.advance(now=run.started_at + timedelta(hours=1)) == 1


def test_a_group_stops_at_the_first_that_fails_again(letters):
    run = replays.start(letters[0].fingerprint, by="ann", rate_per_sec=1)
    replays.advance(now=run.started_at)
    send_again(seconds=1)
    fail_until_dead("KeyError: 'name'")

    replays.advance(now=now(minutes=5))

    run.refresh_from_db()
    assert (run.status, run.released, run.stopped_because) == ("stopped", 1, "1 failed again")
    assert DeadLetter.objects.filter(status="open").count() == 3


def test_a_dry_run_replays_one(letters):
    run = replays.start(letters[0].fingerprint, by="ann", rate_per_sec=1_000, dry_run=True)

    replays.advance(now=now(minutes=5))
    replays.advance(now=now(minutes=5))

    assert ReplayRun.objects.get().released == 1
    assert DeadLetter.objects.filter(run=run).count() == 1


@pytest.mark.parametrize(("rate", "code"), [(0, "E11902"), (-1, "E11902"), (1e9, "E11902")])
def test_a_rate_has_limits(letters, rate, code):
    with pytest.raises(IntegrationError) as caught:
        replays.start(letters[0].fingerprint, by="ann", rate_per_sec=rate)

    assert caught.value.code == code


def test_one_replay_of_a_cause_at_a_time(letters):
    replays.start(letters[0].fingerprint, by="ann")

    with pytest.raises(IntegrationError, match="E11921"):
        replays.start(letters[0].fingerprint, by="bob")
    with pytest.raises(IntegrationError, match="E11123"):
        replays.start("0" * 16, by="ann")


def test_of_two_that_start_at_once_one_is_refused(letters):
    both, codes = threading.Barrier(2, timeout=10), []

    def start(by):
        both.wait()
        try:
            replays.start(letters[0].fingerprint, by=by)
        except IntegrationError as exc:
            codes.append(exc.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=start, args=(by,)) for by in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert codes == ["E11921"]
    assert ReplayRun.objects.count() == 1


def test_the_first_of_two_replays_that_ran_at_once_goes_on_after_the_upgrade(letters):
    executor = MigrationExecutor(connection)
    executor.migrate([("events", "0005_dead_letter_search")])
    try:
        for fingerprint in ("a", "a", "b"):
            ReplayRun.objects.create(fingerprint=fingerprint, rate_per_sec=1, limit=1, requested_by="ann", started_at=now())
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())

    assert list(ReplayRun.objects.order_by("id").values_list("status", flat=True)) == ["running", "stopped", "running"]


def call(*arguments):
    out = StringIO()
    call_command("deadletters", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_lists_shows_and_decides(letters):
    listed = json.loads(call("--json", "list"))
    assert [row["topic"] for row in listed] == ["agent.c", "agent.b", "agent.a"]
    assert json.loads(call("list", "--json")) == listed
    assert json.loads(call("list", "--subscription", listed[0]["subscription"], "--json")) == listed
    assert json.loads(call("--json", "groups"))[0]["count"] == 3
    shown = json.loads(call("--json", "show", str(letters[0].pk)))
    assert shown["attempts"][0]["error"] == "KeyError: 'name'"
    assert "resolved" not in call("replay", str(letters[0].pk))
    assert json.loads(call("--json", "edit", str(letters[1].pk), '{"name": "x"}'))["status"] == "replayed"
    assert "discarded" in call("discard", str(letters[2].pk), "--reason", "test")
    assert call("list").strip() == "none"


def test_the_help_says_that_a_dry_run_delivers(capsys):
    with pytest.raises(SystemExit):
        call("replay-group", "--help")

    assert "really replay one" in capsys.readouterr().out


def test_the_command_says_what_is_wrong(letters):
    with pytest.raises(CommandError, match="E11123"):
        call("replay", "999999")
    with pytest.raises(CommandError, match="E11120"):
        call("list", "--subscription", "nobody")
    with pytest.raises(CommandError, match="not JSON"):
        call("edit", str(letters[0].pk), "{")
    assert json.loads(call("--json", "replay-group", letters[0].fingerprint, "--dry-run"))["letters"] == 1
