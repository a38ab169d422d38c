"""The async face and the command, as layers and operators use them."""

import asyncio
import io
import json
import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from hub.circuits import breaker, history, store
from hub.circuits.face import CircuitBreaker
from hub.circuits.models import CircuitSetting, CircuitTransition
from hub.errors import CircuitOpen, IntegrationError
from tests.registry.samples import register

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_old_transitions():
    store.client().delete(store.TRANSITIONS)


async def good():
    return "answer"


async def bad():
    raise ConnectionError("down")


async def fail_five_times(service):
    face = CircuitBreaker()
    for _ in range(5):
        with pytest.raises(ConnectionError):
            await face.execute(service, bad)
    with pytest.raises(CircuitOpen):
        await face.execute(service, good)
    return await face.get_state(service)


def test_plain_and_async_functions_are_both_guarded(service):
    async def both():
        face = CircuitBreaker()
        return await face.execute(service, good), await face.execute(service, lambda a, b=0: a + b, 1, b=2)

    assert asyncio.run(both()) == ("answer", 3)


def test_the_snippet_of_the_layers(service):
    state = asyncio.run(fail_five_times(service))

    assert (state.state.value, state.get_error_rate()) == ("open", 1.0)


def test_what_cannot_be_called_is_refused_and_says_nothing_of_the_service(service):
    async def five_times():
        for _ in range(5):
            with pytest.raises(IntegrationError, match="not dict") as caught:
                await CircuitBreaker().execute(service, {})
            assert caught.value.code == "E11902"
        return await CircuitBreaker().get_state(service)

    state = asyncio.run(five_times())

    assert (state.state.value, state.failure_count) == ("closed", 0)


def test_a_cancelled_call_counts_neither_way_and_a_long_one_blocks_nobody(service):
    async def cancel_one():
        face, started = CircuitBreaker(), asyncio.Event()

        async def hang():
            started.set()
            await asyncio.sleep(60)

        hanging = asyncio.create_task(face.execute(service, hang))
        await started.wait()
        meanwhile = await face.execute(service, good)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        return meanwhile, await face.get_state(service)

    meanwhile, state = asyncio.run(cancel_one())

    assert meanwhile == "answer"
    assert (state.failed, state.state.value) == (0, "closed")


def test_forcing_and_resetting_leave_rows_with_who_and_why(service):
    async def operate():
        face = CircuitBreaker()
        await face.force_open(service, by="anna", why="database move", for_sec=60)
        with pytest.raises(CircuitOpen):
            await face.execute(service, good)
        await face.force_close(service, by="bert", why="false alarm")
        await face.reset_circuit(service, by="anna", why="done")
        return await face.get_all_states()

    states = asyncio.run(operate())

    assert states[service].state.value == "closed"
    rows = CircuitTransition.objects.filter(service_name=service).order_by("at", "id")
    assert [(row.new_state, row.by, row.reason) for row in rows] == [
        ("forced_open", "anna", "database move"),
        ("forced_closed", "bert", "false alarm"),
        ("closed", "anna", "done"),
    ]
    assert rows[0].until is not None


def test_metrics_only_records_once_what_the_rules_would_have_done(service):
    asyncio.run(CircuitBreaker().metrics_only(service, by="anna", why="trial"))
    for _ in range(12):
        with pytest.raises(ConnectionError):
            asyncio.run(CircuitBreaker().execute(service, bad))

    history.record_transitions()

    would = CircuitTransition.objects.filter(service_name=service, why__startswith="would_open")
    assert [row.why for row in would] == ["would_open_consecutive_failures"]
    assert breaker.look(service).state.value == "metrics_only"


def test_transitions_are_written_once_whoever_records_them(service):
    for _ in range(5):
        with pytest.raises(ConnectionError):
            breaker.execute(service, _raise)
    entries = store.transitions(10)

    first = history.record_transitions()
    store.client().xadd(store.TRANSITIONS, {"move": json.dumps(entries[0][1])}, id="*")
    CircuitTransition.objects.filter(redis_id=entries[0][0]).update(redis_id=store.transitions(1)[0][0])

    assert (first, history.record_transitions()) == (1, 0)
    assert CircuitTransition.objects.count() == 1
    assert store.transitions(10) == []


def test_old_transitions_end_with_their_retention(service):
    asyncio.run(CircuitBreaker().reset_circuit(service))
    CircuitTransition.objects.update(at=timezone.now() - timedelta(days=400))

    assert history.prune() == 1


def run(*args):
    out = io.StringIO()
    call_command("circuits", *args, stdout=out)
    return out.getvalue()


def test_the_command_lists_shows_forces_and_resets(service):
    run("force-open", service, "--why", "database move", "--for-sec", "60", "--by", "anna", "--unseen")
    listed = {one["service_name"]: one for one in json.loads(run("list", "--json"))}
    shown = json.loads(run("show", service, "--json"))
    text = run("show", service)
    run("reset", service)

    assert listed[service]["state"] == "forced_open"
    assert shown["transitions"][0]["reason"] == "database move"
    assert "anna: database move" in text
    assert breaker.look(service).state.value == "closed"


def test_the_command_says_until_when_a_state_lasts(service):
    forced = run("force-open", service, "--why", "database move", "--for-sec", "600", "--by", "anna", "--unseen")
    until = CircuitSetting.objects.get(service_name=service).mode_until

    for text in (forced, run("list"), run("show", service)):
        assert "by anna: database move" in text
        assert re.search(rf"until {until:%Y-%m-%d %H:%M}:\d\d UTC", text)


def test_the_command_says_until_when_an_open_breaker_refuses(service):
    asyncio.run(fail_five_times(service))

    (line,) = [line for line in run("list").splitlines() if line.startswith(f"{service} ")]
    assert re.search(r" open +100.0% of 5 calls  until \d{4}-.* UTC \(consecutive failures\)$", line), line


def test_the_command_refuses_a_name_that_no_service_and_no_breaker_has(service):
    register("L05_planning")

    with pytest.raises(CommandError, match=r"^E11222: .*'L05_planing'.*L05_planning.*--unseen"):
        run("force-open", "L05_planing", "--why", "x")
    with pytest.raises(CommandError, match=r"^E11222: "):
        run("reset", "L05_planing", "--why", "x")
    with pytest.raises(CommandError, match=r"^E11222: .*alike are L05_planning"):
        run("show", "L05_planing")
    assert not CircuitSetting.objects.filter(service_name="L05_planing").exists()
    assert "forced_open" in run("force-open", "L05_planning", "--why", "x")


def test_without_redis_the_command_shows_what_operators_decided_and_says_that_it_knows_no_more(service, own_redis):
    run("force-open", service, "--why", "database move", "--by", "anna", "--unseen")
    register("L05_planning")
    own_redis.stop()
    out = io.StringIO()

    with pytest.raises(CommandError, match=r"^E11240: .*is kept"):
        run("force-open", "L05_planning", "--why", "it burns", "--by", "ben")
    with pytest.raises(CommandError, match=r"^E11240: "):
        call_command("circuits", "list", stdout=out)

    assert "by ben: it burns" in out.getvalue()
    assert "no breaker has been used yet" not in out.getvalue()
    assert re.search(rf"{service} +forced_open .*by anna: database move", out.getvalue())


def test_the_command_refuses_with_the_code(service):
    with pytest.raises(CommandError, match="E11202"):
        run("force-open", service, "--why", "x", "--for-sec", "99999999", "--unseen")


def test_the_history_in_the_admin_cannot_be_changed(service, admin_client):
    asyncio.run(CircuitBreaker().reset_circuit(service))
    row = CircuitTransition.objects.get(service_name=service)

    assert admin_client.get("/admin/circuits/circuittransition/add/").status_code == 403
    assert admin_client.post(f"/admin/circuits/circuittransition/{row.pk}/delete/", {"post": "yes"}).status_code == 403


def _raise():
    raise ConnectionError("down")
