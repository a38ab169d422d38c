"""Each operation does what its room does, under the token's name, and hands on its refusals."""

import pytest

from hub.api import room
from hub.circuits import breaker
from hub.circuits.models import CircuitTransition
from registry_app.models import Service
from sagas.models import SagaExecution, SagaTransition
from tests.api.test_openapi import operations
from tests.console import pages
from tests.registry import samples

pytestmark = pytest.mark.django_db
NOBODY = "00000000-0000-0000-0000-000000000000"
WHY = {"reason": "asked by mail"}

REFUSED = {
    "list_services": ("GET", "/services?colour=red", None, "E11912"),
    "register_service": ("POST", "/services", {"service": {"service_name": "1"}}, "E11901"),
    "show_service": ("GET", "/services/nobody", None, "E11022"),
    "look_up_service": ("GET", "/lookups/nobody", None, "E11020"),
    "deregister_service": ("POST", "/services/nobody/deregister", None, "E11022"),
    "beat_service": ("POST", "/services/nobody/heartbeat", None, "E11821"),
    "probe_service": ("POST", "/services/nobody/probe", None, "E11022"),
    "begin_maintenance": ("PUT", "/services/nobody/maintenance", {"minutes": 1e9, **WHY}, "E11902"),
    "end_maintenance": ("DELETE", "/services/nobody/maintenance", None, "E11022"),
    "send_request": ("POST", "/requests", {"service_name": "nobody", "method": "GET", "path": "/"}, "E11020"),
    "send_broadcast": ("POST", "/broadcasts", {"service_names": [], "method": "GET", "path": "/"}, "E11308"),
    "list_requests": ("GET", "/requests?limit=x", None, "E11912"),
    "show_request": ("GET", "/requests/9", None, "E11320"),
    "start_saga": ("POST", "/sagas", {"saga_name": "nobody"}, "E11420"),
    "list_sagas": ("GET", "/sagas?order_by=id", None, "E11912"),
    "show_saga": ("GET", f"/sagas/{NOBODY}", None, "E11423"),
    "list_saga_moves": ("GET", "/sagas/x/history", None, "E11908"),
    "say_why": ("GET", f"/why/{'x' * 200}", None, "E11908"),
    "plan_saga_undo": ("GET", f"/sagas/{NOBODY}/plan", None, "E11423"),
    "signal_saga": ("POST", f"/sagas/{NOBODY}/signal", {"name": "a b"}, "E11902"),
    "cancel_saga": ("POST", f"/sagas/{NOBODY}/cancel", WHY, "E11423"),
    "retry_saga": ("POST", f"/sagas/{NOBODY}/retry", {}, "E11901"),
    "compensate_saga": ("POST", f"/sagas/{NOBODY}/compensate", WHY, "E11423"),
    "skip_saga_step": ("POST", f"/sagas/{NOBODY}/skip", WHY, "E11901"),
    "resolve_saga": ("POST", f"/sagas/{NOBODY}/resolve", {"outcome": "failed", **WHY}, "E11902"),
    "rerun_saga": ("POST", f"/sagas/{NOBODY}/rerun", {"step_id": "a", "reason": " "}, "E11901"),
    "publish_event": ("POST", "/events", {"topic": "hub.mine", "event_type": "x", "payload": {}}, "E11182"),
    "show_event": ("GET", "/events/nobody", None, "E11920"),
    "make_subscription": ("PUT", "/subscriptions/hub/mine", {"pattern": "agent.*", "target": {"task": "a.b", "queue": "q"}}, "E11181"),
    "show_subscription": ("GET", "/subscriptions/L03/none", None, "E11120"),
    "remove_subscription": ("DELETE", "/subscriptions/L03/none", None, "E11120"),
    "list_subscriptions": ("GET", "/subscriptions?limit=0", None, "E11912"),
    "list_dead_letters": ("GET", "/dead-letters?status=lost", None, "E11912"),
    "list_dead_letter_groups": ("GET", "/dead-letters/groups?limit=3", None, "E11912"),
    "replay_dead_letter_group": ("POST", "/dead-letters/groups/nobody/replay", {"rate_per_sec": 0}, "E11902"),
    "show_dead_letter": ("GET", "/dead-letters/9", None, "E11123"),
    "replay_dead_letter": ("POST", "/dead-letters/nine/replay", None, "E11908"),
    "edit_dead_letter": ("POST", "/dead-letters/9/edit", {"payload": []}, "E11902"),
    "discard_dead_letter": ("POST", "/dead-letters/9/discard", {"reason": " "}, "E11901"),
    "list_circuits": ("GET", "/circuits?cursor=x", None, "E11912"),
    "show_circuit": ("GET", "/circuits/1", None, "E11204"),
    "force_circuit": ("POST", "/circuits/L02/force", {"state": "open", **WHY}, "E11902"),
    "reset_circuit": ("POST", "/circuits/L02/reset", {"reason": ""}, "E11901"),
    "show_trace": ("GET", f"/traces/{'ab' * 16}", None, "E11520"),
}


def test_every_operation_is_among_those_refused_below(client):
    assert {said["operationId"] for _, _, said in operations(client)} == set(REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_an_operation_hands_on_its_rooms_refusal(caller, name):
    method, path, body, code = REFUSED[name]

    answer = caller.send(method, path, body)

    problem = answer.json()
    assert problem["code"] == code, problem
    assert answer.status_code == problem["status"] >= 400
    assert {"type", "title", "detail", "retry", "trace_id"} <= set(problem)


def test_a_layer_registers_beats_and_leaves(caller):
    about = {"service_name": "L02_runtime", "service_version": "0.1.0", "endpoint": "http://127.0.0.1:8002"}
    registered = caller.post("/services", {"service": about, "owner": "L02"}).json()
    address = f"/services/{registered['service_id']}"
    assert (registered["status"], caller.get(address).json()["owner"]) == ("unknown", "L02")
    assert caller.get("/lookups/L02_runtime?version=>=0.1").json()["service_id"] == registered["service_id"]

    assert caller.post(f"{address}/heartbeat").json()["code"] == "E11881"
    assert caller.post(f"{address}/heartbeat", {"owner": "L02"}).status_code == 200
    assert caller.post(f"{address}/deregister", {"owner": "L02", "reason": "moved"}).status_code == 200

    row = Service.objects.get(service_id=registered["service_id"])
    assert row.last_heartbeat_at
    assert row.changes.latest("id").reason == "moved (ci)"
    assert caller.get(address).json()["code"] == "E11022"


def test_an_instance_is_taken_out_of_routing_and_put_back(caller):
    info = samples.register()
    address = f"/services/{info.service_id}"

    begun = caller.send("PUT", f"{address}/maintenance", {"minutes": 5, "reason": "new disk"})
    row = samples.row_of(info)
    assert begun.json()["maintenance_until"] == row.maintenance_until.isoformat()
    assert (row.maintenance_by, row.maintenance_reason) == ("ci", "new disk")

    assert caller.send("DELETE", f"{address}/maintenance").status_code == 200
    assert samples.row_of(info).maintenance_until is None
    assert caller.post(f"{address}/probe").json() == {"service_id": info.service_id, "status": samples.row_of(info).status}


def test_a_request_is_sent_once_per_key_and_stands_in_the_history(caller, target):
    samples.register(endpoint=target.url)
    wish = {"service_name": "L02_runtime", "method": "POST", "path": "/echo", "data": {"task": "x"}}

    answers = [caller.post("/requests", wish, Idempotency_Key="order-7").json() for _ in range(2)]

    assert [answer["body"]["method"] for answer in answers] == ["POST", "POST"]
    assert answers[1]["decision"]["kept"]
    [(method, path, headers, _)] = target.requests
    assert (method, path, headers["idempotency-key"]) == ("POST", "/echo", "order-7")
    [row] = caller.get("/requests?service_name=L02_runtime").json()["items"]
    assert (row["outcome"], row["trace_id"]) == ("ok", answers[0]["trace_id"])
    assert caller.get(f"/requests/{row['id']}").json()["decision"]["attempts"]


def test_a_request_goes_on_in_its_callers_trace(caller, target):
    samples.register(endpoint=target.url)
    trace_id, around = "ab" * 16, {"tracestate": "vendor=1", "X_Correlation_Id": "order-7"}
    wish = {"service_name": "L02_runtime", "method": "GET", "path": "/echo"}

    answer = caller.post("/requests", wish, traceparent=f"00-{trace_id}-{'cd' * 8}-01", **around)

    [(_, _, headers, _)] = target.requests
    assert headers["traceparent"].split("-")[1] == trace_id == answer.json()["trace_id"]
    assert (headers["tracestate"], headers["x-correlation-id"]) == ("vendor=1", "order-7")
    spans = caller.get(f"/traces/{trace_id}").json()["spans"]
    assert "POST /api/v1/requests" in [span["span_name"] for span in spans]


def test_no_more_requests_are_sent_at_once_than_leave_the_console_its_threads(caller, target, settings):
    settings.HUB = settings.HUB.model_copy(update={"api_max_calls_at_once": 1})
    info = samples.register(endpoint=target.url)
    wish = {"service_name": "L02_runtime", "method": "GET", "path": "/echo"}

    with room.one_call():
        refused = caller.post("/requests", wish)
        probe = caller.post(f"/services/{info.service_id}/probe")

    assert (probe.status_code, probe.json()["code"]) == (429, "E11364")
    assert (refused.status_code, refused.json()["code"], refused["Retry-After"]) == (429, "E11364", "1")
    assert target.requests == []
    assert caller.post("/requests", wish).status_code == 200


@pytest.mark.django_db(transaction=True)  # each call of a broadcast has a thread and a connection of its own
def test_a_broadcast_answers_for_each_service(caller, target):
    samples.register(endpoint=target.url)

    answer = caller.post("/broadcasts", {"service_names": ["L02_runtime", "nobody"], "method": "GET", "path": "/echo"}).json()

    assert {name: one["outcome"] for name, one in answer.items()} == {"L02_runtime": "ok", "nobody": "unavailable"}


def test_a_saga_is_started_once_per_key(caller):
    wish = {"saga_name": "three_steps", "context": {"app": "shop"}}
    first = caller.post("/sagas", wish, Idempotency_Key="order-7")
    again = caller.post("/sagas", wish, Idempotency_Key="order-7")
    other = caller.post("/sagas", {**wish, "context": {}}, Idempotency_Key="order-7")

    assert (first.status_code, first.json()["execution_id"]) == (202, again.json()["execution_id"])
    assert other.json()["code"] == "E11424"
    run = SagaExecution.objects.get()
    assert caller.get(f"/sagas/{run.pk}").json()["context"]["app"] == "shop"
    assert caller.get(f"/sagas/{run.pk}/plan").json() == {"would_undo": []}
    why = caller.get(f"/why/{run.pk}").json()
    assert set(why) == {"headline", "because", "then"}
    assert why["headline"].startswith("waiting")


@pytest.mark.parametrize(("in_body", "in_header"), [("", None), ("", ""), (None, ""), ("order-7", ""), ("", "order-7")])
def test_an_empty_key_is_refused_and_does_not_stand_for_none(caller, in_body, in_header):
    headers = {} if in_header is None else {"Idempotency_Key": in_header}

    refused = caller.post("/sagas", {"saga_name": "three_steps", "idempotency_key": in_body}, **headers)

    assert (refused.status_code, refused.json().get("code")) == (422, "E11306")
    assert not SagaExecution.objects.exists()


def test_who_asks_for_a_change_is_in_the_log(caller, caplog):
    with caplog.at_level("INFO", logger="hub.api"):
        caller.post("/sagas", {"saga_name": "nobodys"})
        caller.get("/sagas")

    [line] = [record for record in caplog.records if record.msg == "api call"]
    assert (line.actor, line.method, line.route, line.status) == ("ci", "POST", "/api/v1/sagas", 404)


def test_a_signal_is_in_the_history_under_the_tokens_name(caller):
    run = pages.saga("approval")
    pages.step_done(run, 0)

    caller.post(f"/sagas/{run.pk}/signal", {"name": "approved"})

    moves = caller.get(f"/sagas/{run.pk}/history").json()["items"]
    assert [(move["step_id"], move["new"]) for move in moves if move["actor"] == "ci"] == [("", "running"), ("ask", "completed")]


def test_a_saga_is_turned_back_under_the_tokens_name(caller):
    run = pages.saga()
    pages.step_done(run, 0)
    assert [undo["step_id"] for undo in caller.get(f"/sagas/{run.pk}/plan").json()["would_undo"]] == ["a"]
    assert caller.post(f"/sagas/{run.pk}/signal", {"name": "go"}).json()["code"] == "E11412"

    assert caller.post(f"/sagas/{run.pk}/cancel", WHY).json()["status"] == "compensating"

    moves = caller.get(f"/sagas/{run.pk}/history").json()["items"]
    assert {move["new"] for move in moves if move["actor"] == "ci"} >= {"compensating"}
    assert "asked by mail" in caller.get(f"/sagas/{run.pk}").json()["error"]["message"]


@pytest.mark.parametrize(
    ("verb", "extra", "status"),
    [
        ("retry", {}, "running"),
        ("compensate", {}, "compensating"),
        ("skip", {"step_id": "b"}, "completed"),
        ("resolve", {"outcome": "completed"}, "completed"),
    ],
)
def test_an_operator_acts_on_a_failed_saga(caller, verb, extra, status):
    run = pages.failed_saga()

    answer = caller.post(f"/sagas/{run.pk}/{verb}", {**WHY, **extra})

    assert answer.json() == {"execution_id": str(run.pk), "status": status}
    assert SagaTransition.objects.filter(execution=run, actor="ci", reason__contains="asked by mail").exists()


def test_an_ended_saga_runs_again_as_a_new_one(caller):
    run = pages.failed_saga()
    caller.post(f"/sagas/{run.pk}/resolve", {**WHY, "outcome": "completed"})

    answer = caller.post(f"/sagas/{run.pk}/rerun", {**WHY, "step_id": "b", "changes": {"app": "shop"}})

    assert answer.status_code == 202
    assert caller.get(f"/sagas/{answer.json()['execution_id']}").json()["context"]["app"] == "shop"


def test_an_operators_word_stands_over_a_breaker(caller):
    forced = caller.post("/circuits/L02/force", {"state": "forced_open", "for_sec": 60, **WHY}).json()
    assert (forced["state"], forced["manual_by"], forced["manual_why"]) == ("forced_open", "ci", "asked by mail")
    assert caller.get("/circuits/L02").json()["state"] == "forced_open"
    assert [one["service_name"] for one in caller.get("/circuits").json()["items"]] == ["L02"]

    assert caller.post("/circuits/L02/reset", WHY).json()["state"] == "closed"
    assert set(CircuitTransition.objects.filter(service_name="L02").values_list("by", flat=True)) == {"ci"}
    assert breaker.look("L02").state == "closed"


def test_an_event_is_published(caller):
    event = {"topic": "agent.created", "event_type": "created", "payload": {"agent_id": "a-1"}, "event_id": "e-1"}

    answer = caller.post("/events", event)

    assert (answer.status_code, answer.json()) == (202, {"event_id": "e-1"})
