"""The registry against real processes: what dies, hangs, flaps, comes back or moves is seen in time, with its reason.

A real worker probes on its own threads; the test only does what beat does, and sends `hub.control.probe_due`.
"""

import signal
import threading
import time

import pytest
from django.utils import timezone

from hub.celery import app
from registry_app import lookup, services
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.models import Service
from tests.processes import wait_until
from tests.registry.samples import describe, http_check, register, row_of
from tests.registry.targets import HttpService, deaf_port, start_grpc_server

pytestmark = pytest.mark.django_db(transaction=True)

INTERVAL_SEC, TIMEOUT_SEC, BEAT_SEC = 1, 1, 0.25
SEEN_WITHIN_SEC = INTERVAL_SEC + TIMEOUT_SEC + 4  # the rest is for the worker of a busy machine


@pytest.fixture
def probing(worker):
    """A worker that probes, and a beat for it."""
    over = threading.Event()

    def beat():
        while not over.wait(BEAT_SEC):
            app.send_task("hub.control.probe_due", queue="hub.control", ignore_result=True)

    thread = threading.Thread(target=beat)
    thread.start()
    yield worker
    over.set()
    thread.join(10)
    # The last probes end before the tables are emptied.
    Service.objects.update(next_probe_at=None)
    app.send_task("hub.registry.lookup", kwargs={"service_name": "x"}, queue="hub.control").get(timeout=10, propagate=False)
    time.sleep(TIMEOUT_SEC)


@pytest.fixture
def http_service(tmp_path):
    service = HttpService(tmp_path / "mode")
    yield service
    service.die()


def quick(kind=HealthCheckType.HTTP, endpoint="/health", **options):
    return HealthCheck(kind, endpoint, **{"interval_sec": INTERVAL_SEC, "timeout_sec": TIMEOUT_SEC, "failure_threshold": 1} | options)


def wait_for(info, status, reason="", *, timeout_sec=SEEN_WITHIN_SEC):
    """Wait until the instance has a status, for a reason; return how long that took."""
    started = time.monotonic()

    def seen():
        row = row_of(info)
        return row.status == status and reason in row.reason

    wait_until(seen, timeout_sec=timeout_sec, what=f"{info.service_name} {status} because of {reason!r}")
    return time.monotonic() - started


def test_a_service_that_fails_hangs_dies_and_comes_back(probing, http_service):
    info = register("L02_runtime", http_service.url, check=quick())
    wait_for(info, "healthy", "HTTP 200")

    http_service.behave("fail")
    wait_for(info, "unhealthy", "HTTP 500")

    http_service.behave("hang")
    wait_for(info, "unhealthy", "no whole answer within 1 s")

    http_service.die()
    wait_for(info, "unhealthy", "Connection refused")

    http_service.start()
    wait_for(info, "healthy", "HTTP 200")
    changes = row_of(info).changes.filter(kind="health").order_by("pk")
    assert [change.new_status for change in changes] == ["healthy", "unhealthy", "healthy"]


def test_a_service_that_flaps_must_prove_itself(probing, http_service):
    info = register("L02_runtime", http_service.url, check=quick())
    wait_for(info, "healthy")

    for _ in range(2):
        http_service.behave("fail")
        wait_for(info, "unhealthy")
        http_service.behave("ok")
        wait_until(lambda: row_of(info).status != "unhealthy", what="answering again")

    reasons = [change.reason for change in row_of(info).changes.order_by("pk")]
    assert "it flaps (penalty 2.0): 1 of 2 good checks in a row" in reasons
    wait_for(info, "healthy")


def test_a_service_that_moves_to_another_port(probing, http_service, tmp_path):
    old = register("L02_runtime", http_service.url, check=quick(deregister_after=2))
    wait_for(old, "healthy")
    http_service.die()
    moved = HttpService(tmp_path / "mode2")
    try:
        new = register("L02_runtime", moved.url, check=quick(deregister_after=2))

        wait_for(new, "healthy")
        wait_until(lambda: row_of(old).deregistered_at, timeout_sec=SEEN_WITHIN_SEC + INTERVAL_SEC, what="the old place left")
        lookup.forget()
        assert {lookup.choose("L02_runtime").endpoint for _ in range(20)} == {moved.url}
    finally:
        moved.die()


def test_a_grpc_server_that_dies(probing):
    server, port = start_grpc_server()
    info = register("L04_gateway", f"http://127.0.0.1:{port}", check=quick(HealthCheckType.GRPC, f"127.0.0.1:{port}"))
    try:
        wait_for(info, "healthy", "SERVING")
    finally:
        server.kill()
        server.wait(10)

    wait_for(info, "unhealthy", "UNAVAILABLE")


def test_a_celery_worker_that_stops_while_its_queue_fills(probing, layer_worker):
    queue = "l05.planning"
    layer = layer_worker("tests.registry.layer_app", queue)
    check = quick(HealthCheckType.CELERY, queue, interval_sec=2, tasks=("l05.plan",), max_message_age_sec=1)
    info = register("L05_planning_queue", f"celery://{queue}", check=check)
    wait_for(info, "healthy", "1 live consumers of l05.planning", timeout_sec=15)

    layer.signal(signal.SIGSTOP)
    for number in range(5):
        app.send_task("l05.plan", args=[number], queue=queue, ignore_result=True)
    # The workers are asked at most every 5 seconds.
    wait_for(info, "unhealthy", "no live worker consumes the queue l05.planning", timeout_sec=12)
    wait_until(lambda: row_of(info).witnesses["queue"]["verdict"] == "slow", what="the queue seen as standing")
    assert "messages wait, the oldest for at least" in row_of(info).witnesses["queue"]["reason"]

    layer.signal(signal.SIGCONT)
    wait_until(lambda: row_of(info).status in ("healthy", "degraded"), timeout_sec=15, what="the worker back")


def test_one_worker_of_a_queue_may_be_meant(probing, layer_worker):
    layer = layer_worker("tests.registry.layer_app", "l05.planning")
    there, gone = f"celery://l05.planning/{layer.node}", "celery://l05.planning/gone@test"
    well = register("L05_there", there, check=quick(HealthCheckType.CELERY, there, max_message_age_sec=1))
    bad = register("L05_gone", gone, check=quick(HealthCheckType.CELERY, gone))

    wait_for(well, "healthy", "1 live consumers of l05.planning", timeout_sec=12)
    wait_for(bad, "unhealthy", "worker gone@test does not consume the queue l05.planning", timeout_sec=12)


def test_a_queue_whose_workers_do_not_know_the_task(probing, layer_worker):
    layer_worker("tests.registry.layer_app", "l05.planning")
    check = quick(HealthCheckType.CELERY, "l05.planning", tasks=("l05.forgotten",))
    info = register("L05_planning_queue", "celery://l05.planning", check=check)

    wait_for(info, "unhealthy", "no consumer of l05.planning knows the task l05.forgotten", timeout_sec=12)


def test_a_worker_registers_itself_beats_and_leaves(probing, layer_worker):
    layer = layer_worker("tests.registry.layer_app", "l05.planning")

    def rows():
        return list(Service.objects.filter(service_name="L05_planning"))

    (row,) = wait_until(rows, what="the worker registered")
    assert row.endpoint == f"celery://l05.planning/{layer.node}"
    assert (row.service_version, row.owner, row.tags, row.capabilities) == ("0.2.0", "team-l05", ["l05.planning"], ["l05.plan"])
    wait_until(lambda: rows()[0].status == "healthy", what="its heartbeat believed")
    assert services.get_by_name("L05_planning").service_id == row.service_id

    assert layer.stop() == 0
    wait_until(lambda: rows()[0].deregistered_at, what="the worker said good-bye")


def test_a_worker_that_is_killed_misses_its_beats(probing, layer_worker):
    layer = layer_worker("tests.registry.layer_app", "l05.planning")
    wait_until(lambda: Service.objects.filter(service_name="L05_planning", status="healthy").exists(), what="the worker healthy")

    layer.kill()

    info = services.get_by_name("L05_planning")
    wait_for(info, "unhealthy", "last heartbeat", timeout_sec=3 * 1 + SEEN_WITHIN_SEC)


def test_two_rivals_for_one_name_do_not_fight(worker):
    def send(owner, port):
        service = describe(endpoint=f"http://127.0.0.1:{port}").to_dict()
        return app.send_task("hub.registry.register", kwargs={"service": service, "owner": owner}, queue="hub")

    sent = [(owner, send(owner, port)) for _ in range(10) for owner, port in (("team-a", 1001), ("team-b", 1002))]
    outcomes = {owner: set() for owner in ("team-a", "team-b")}
    for owner, result in sent:
        answer = result.get(timeout=20, propagate=False)
        outcomes[owner].add(answer["service_id"] if result.successful() else str(answer)[:6])

    winner, loser = sorted(outcomes, key=lambda owner: "E11021" in outcomes[owner])
    (row,) = Service.objects.all()
    assert outcomes == {winner: {row.service_id}, loser: {"E11021"}}
    assert (row.owner, row.changes.count()) == (winner, 1)


def test_services_that_hang_hold_no_slot_of_the_worker(probing):
    with deaf_port() as port:
        hanging = [register(f"hangs{n}", f"http://127.0.0.1:{port}", check=http_check(interval_sec=30, timeout_sec=20)) for n in range(12)]
        wait_until(
            lambda: all((row_of(one).next_probe_at - row_of(one).registered_at).total_seconds() > 5 for one in hanging), what="all claimed"
        )

        register("quick")
        started = time.monotonic()
        answer = app.send_task("hub.registry.lookup", kwargs={"service_name": "quick"}, queue="hub.control").get(timeout=10)

    assert answer["service_name"] == "quick"
    assert time.monotonic() - started < 6  # the hanging ones hold theirs for 20


def test_services_that_hang_do_not_hold_up_the_end_of_a_worker(no_worker, start_worker):
    ends = start_worker(queues="hub.control", pool="threads")
    with deaf_port() as port:
        for n in range(40):
            register(f"hangs{n}", f"http://127.0.0.1:{port}", check=http_check(interval_sec=30, timeout_sec=20))
        app.send_task("hub.control.probe_due", queue="hub.control", ignore_result=True)
        wait_until(lambda: not Service.objects.filter(next_probe_at__lte=timezone.now()).exists(), what="all claimed")

        started = time.monotonic()
        ends.process.terminate()
        ends.process.wait(60)

    assert time.monotonic() - started < 5  # a connection to one of them is given up after as long, and each thread had three to try
