"""Registering: what is kept, who may, and what it looked like then."""

import json
import threading
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from hub.errors import ErrorCode, IntegrationError
from hub.events.models import OutboxEvent
from registry_app import history, maintenance, services
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.models import HealthChange, Service
from tests.registry.samples import http_check, register, row_of

pytestmark = pytest.mark.django_db


def refused(code):
    return pytest.raises(IntegrationError, match=f"^{code.value}: ")


def test_a_registered_service_is_found_by_id_and_name():
    info = register(metadata={"zone": "a"}, tags=["gpu"], weight=7)

    assert services.get(info.service_id) == services.get_by_name("L02_runtime") == info
    assert (info.metadata, info.tags, info.weight) == ({"zone": "a"}, ["gpu"], 7)


def test_the_best_instance_answers_for_the_name():
    register(endpoint="http://127.0.0.1:1001", status="unhealthy", weight=900)
    register(endpoint="http://127.0.0.1:1002", status="degraded")
    best = register(endpoint="http://127.0.0.1:1003", status="healthy")

    assert services.get_by_name("L02_runtime").service_id == best.service_id


def test_an_instance_in_maintenance_answers_for_the_name_only_when_there_is_no_other():
    repaired = register(endpoint="http://127.0.0.1:1001", status="healthy")
    other = register(endpoint="http://127.0.0.1:1002", status="degraded")
    maintenance.begin(repaired.service_id, minutes=5, reason="new disk", by="ann")

    assert services.get_by_name("L02_runtime").service_id == other.service_id

    services.deregister(other.service_id)
    assert services.get_by_name("L02_runtime").service_id == repaired.service_id


def test_who_is_not_there_is_not_found():
    with refused(ErrorCode.SERVICE_NOT_FOUND):
        services.get_by_name("nobody")
    with refused(ErrorCode.INSTANCE_NOT_FOUND):
        services.get("nobody")
    with refused(ErrorCode.INSTANCE_NOT_FOUND):
        services.deregister("nobody")
    with refused(ErrorCode.HEARTBEAT_UNKNOWN_INSTANCE):
        services.heartbeat("nobody")


@pytest.mark.parametrize("service_id", ["a\0", "\ud800"])
def test_an_id_that_no_database_can_be_asked_for_is_that_of_nobody(service_id):
    with refused(ErrorCode.INSTANCE_NOT_FOUND):
        services.get(service_id)
    with refused(ErrorCode.INSTANCE_NOT_FOUND):
        services.deregister(service_id)
    with refused(ErrorCode.HEARTBEAT_UNKNOWN_INSTANCE):
        services.heartbeat(service_id)
    with refused(ErrorCode.SERVICE_NOT_FOUND):
        services.get_by_name(service_id)


def test_pages_do_not_overlap():
    for port in range(1001, 1008):
        register(endpoint=f"http://127.0.0.1:{port}")

    first = services.all_services(limit=4)
    second = services.all_services(limit=4, after=first[-1].service_id)

    assert len({one.service_id for one in first + second}) == 7


def test_registering_again_keeps_id_health_and_history():
    info = register(check=http_check())
    Service.objects.update(status="degraded", reason="slow", penalty=2.5, failures=2, tracker="ggs")
    next_probe_at = row_of(info).next_probe_at

    again = register(check=http_check())

    row = row_of(info)
    assert again.service_id == info.service_id
    assert (row.status, row.reason, row.penalty, row.failures, row.tracker) == ("degraded", "slow", 2.5, 2, "ggs")
    assert row.next_probe_at == next_probe_at
    assert HealthChange.objects.count() == 1


def test_registering_with_news_changes_what_the_instance_says_not_its_health():
    info = register(status="healthy")

    register(version="0.2.0", tags=["new"], check=http_check())

    row = row_of(info)
    assert (row.service_version, row.tags, row.check_type, row.status) == ("0.2.0", ["new"], "http", "healthy")
    assert row.changes.latest("at").reason == "changed: check_type, health_check, service_version, tags"


def test_who_left_comes_back_unknown_with_its_old_history():
    info = register(status="healthy")
    services.deregister(info.service_id)

    register()

    assert row_of(info).status == "unknown"
    assert list(row_of(info).changes.order_by("pk").values_list("kind", flat=True)) == ["registered", "deregistered", "registered"]


@pytest.mark.django_db(transaction=True)
def test_many_who_register_the_same_new_instance_at_once_get_the_same_row():
    ids, start = [], threading.Barrier(6)

    def register_it():
        start.wait(10)
        ids.append(register(owner="team-a").service_id)
        connection.close()

    threads = [threading.Thread(target=register_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (len(ids), len(set(ids))) == (6, 1)
    assert list(Service.objects.get().changes.values_list("kind", flat=True)) == ["registered"]


def test_deregistering_twice_is_harmless():
    info = register()

    services.deregister(info.service_id)
    services.deregister(info.service_id)

    assert row_of(info).changes.count() == 2
    with refused(ErrorCode.INSTANCE_NOT_FOUND):
        services.get(info.service_id)


def test_a_name_belongs_to_who_registered_it_first():
    register(owner="team-a")

    with refused(ErrorCode.SERVICE_CONFLICT):
        register(endpoint="http://127.0.0.1:1", owner="team-b")
    with refused(ErrorCode.REGISTER_NOT_PERMITTED):
        register(endpoint="http://127.0.0.1:1")
    assert Service.objects.count() == 1


def test_an_owner_may_have_several_instances():
    register(owner="team-a")
    register(endpoint="http://127.0.0.1:1", owner="team-a")

    assert Service.objects.count() == 2


def test_a_name_that_nobody_owns_can_be_claimed():
    register()
    register(owner="team-a")

    with refused(ErrorCode.REGISTER_NOT_PERMITTED):
        register()


def test_a_name_is_free_again_when_all_its_instances_left():
    info = register(owner="team-a")
    services.deregister(info.service_id, owner="team-a")

    register(owner="team-b")

    with refused(ErrorCode.SERVICE_CONFLICT):
        register(owner="team-a")


def test_a_rival_cannot_beat_or_deregister_for_another():
    info = register(owner="team-a")

    with refused(ErrorCode.HEARTBEAT_NOT_PERMITTED):
        services.heartbeat(info.service_id, owner="team-b")
    with refused(ErrorCode.REGISTER_NOT_PERMITTED):
        services.deregister(info.service_id, owner="team-b")
    assert row_of(info).last_heartbeat_at is None


def test_the_older_process_of_an_instance_has_no_say_any_more():
    info = register(generation=1)
    register(generation=2)

    with refused(ErrorCode.REGISTRATION_STALE):
        register(generation=1)
    with refused(ErrorCode.HEARTBEAT_STALE):
        services.heartbeat(info.service_id, generation=1)
    with refused(ErrorCode.REGISTRATION_STALE):
        services.deregister(info.service_id, generation=1)
    assert services.heartbeat(info.service_id, generation=2).service_id == info.service_id


@pytest.mark.parametrize(
    "wrong", [{"owner": 7}, {"owner": "x" * 65}, {"owner": "a\nb"}, {"generation": -1}, {"generation": "1"}, {"generation": 2**63}]
)
def test_owner_and_generation_have_a_shape(wrong):
    with refused(ErrorCode.ARGUMENT_TYPE):
        register(**wrong)


def test_there_are_limits(hub_settings, monkeypatch):
    hub_settings(registry_max_services=2)
    register(endpoint="http://127.0.0.1:1")
    register(endpoint="http://127.0.0.1:2")

    with pytest.raises(IntegrationError, match=r"^E11060: .* HUB_REGISTRY_MAX_SERVICES\)$"):
        register(endpoint="http://127.0.0.1:3")
    register(endpoint="http://127.0.0.1:2")

    hub_settings(registry_max_services=100)
    monkeypatch.setattr(services, "MAX_INSTANCES", 2)
    with pytest.raises(IntegrationError, match=r"^E11061: .* \(take out those that are gone"):
        register(endpoint="http://127.0.0.1:3")


def test_the_summary_counts_by_status():
    for port, status in enumerate(["healthy", "healthy", "degraded", "unhealthy", "unknown"], 1001):
        register(endpoint=f"http://127.0.0.1:{port}", status=status)

    assert services.health_summary() == {
        "total_services": 5,
        "healthy": 2,
        "degraded": 1,
        "unhealthy": 1,
        "unknown": 1,
        "health_percentage": 40.0,
        "in_maintenance": 0,
        "self_preservation": None,
    }


def test_an_empty_registry_has_a_summary():
    summary = services.health_summary()

    assert (summary["total_services"], summary["health_percentage"]) == (0, 0.0)


def test_a_heartbeat_of_a_ttl_service_is_looked_at_at_once_unless_all_is_well():
    info = register(check=HealthCheck(HealthCheckType.TTL, interval_sec=10))
    Service.objects.update(next_probe_at=timezone.now() + timedelta(hours=1))

    services.heartbeat(info.service_id)
    assert row_of(info).next_probe_at <= timezone.now() + timedelta(seconds=1)  # the database's clock, as far as it is known here

    Service.objects.update(status="healthy")
    services.heartbeat(info.service_id)
    assert (row_of(info).next_probe_at - timezone.now()).total_seconds() == pytest.approx(30, abs=1)


def test_maintenance_is_written_down_and_ends_by_itself():
    info = register(status="healthy")
    until = maintenance.begin(info.service_id, minutes=5, reason="new disk", by="ann")

    assert services.health_summary()["in_maintenance"] == 1
    assert maintenance.end_due(now=until - timedelta(seconds=1)) == 0
    assert maintenance.end_due(now=until) == 1
    row = row_of(info)
    assert (row.maintenance_until, row.maintenance_by, row.status) == (None, "", "healthy")
    assert list(row.changes.order_by("pk").values_list("reason", flat=True)) == [
        "registered",
        "maintenance: new disk (ann)",
        "maintenance is over",
    ]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), maintenance.MAX_MINUTES + 1])
def test_maintenance_always_has_an_end(minutes):
    info = register()

    with refused(ErrorCode.ARGUMENT_TYPE):
        maintenance.begin(info.service_id, minutes=minutes, reason="for ever", by="ann")


def test_who_left_in_maintenance_does_not_come_back_with_its_end():
    info = register()
    until = maintenance.begin(info.service_id, minutes=5, reason="new disk", by="ann")
    services.deregister(info.service_id)

    assert maintenance.end_due(now=until) == 0
    assert history.registry_at(timezone.now()) == []

    register()
    assert maintenance.end_due(now=until) == 1
    assert row_of(info).maintenance_until is None


def test_the_registry_of_a_moment_can_be_seen(time_machine):
    def at(minute):
        time_machine.move_to(f"2030-01-01T14:{minute:02}:00+00:00", tick=False)

    at(0)
    one = register("one")
    at(1)
    two = register("two")
    at(2)
    maintenance.begin(one.service_id, minutes=2, reason="disk", by="ann")
    at(3)
    services.deregister(two.service_id)

    def names(minute):
        moment = datetime.fromisoformat(f"2030-01-01T14:{minute:02}:30+00:00")
        return [(seen.service_name, seen.in_maintenance) for seen in history.registry_at(moment)]

    assert names(0) == [("one", False)]
    assert names(1) == [("one", False), ("two", False)]
    assert names(2) == [("one", True), ("two", False)]
    assert names(3) == [("one", True)]
    assert names(4) == [("one", False)]


def test_pruning_keeps_what_the_oldest_kept_moment_needs():
    stays, left = register("stays"), register("left")
    services.deregister(left.service_id)
    maintenance.begin(stays.service_id, minutes=1, reason="x", by="ann")
    long_ago = timezone.now() - timedelta(days=40)
    HealthChange.objects.update(at=long_ago)
    Service.objects.filter(service_name="left").update(deregistered_at=long_ago)

    history.prune(now=timezone.now(), keep_days=30)

    assert [(change.service.service_name, change.kind) for change in HealthChange.objects.all()] == [("stays", "maintenance")]
    assert [seen.service_name for seen in history.registry_at(timezone.now() - timedelta(days=30))] == ["stays"]


def test_each_change_is_announced_with_its_transaction():
    info = register()
    services.deregister(info.service_id)

    assert [json.loads(event.body)["topic"] for event in OutboxEvent.objects.order_by("pk")] == [
        "service.registered",
        "service.deregistered",
    ]


def test_what_is_no_service_is_refused_with_its_type():
    with pytest.raises(IntegrationError, match=r"^E11902: a service must be a ServiceInfo, not str"):
        services.register("x")
