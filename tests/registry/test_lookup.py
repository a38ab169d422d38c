"""Look-ups: no query for each request, and never staler than promised."""

import threading

import pytest
from django.db import OperationalError, connection, transaction

from hub.errors import ErrorCode, IntegrationError
from registry_app import lookup, maintenance, services
from registry_app.models import Service
from registry_app.state import mark_changed
from tests.registry.samples import register, row_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that the test moves."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def time(self):
            return 1_900_000_000.0

    clock = Clock()
    monkeypatch.setattr(lookup, "time", clock)
    return clock


def changed_elsewhere(**columns):
    """Change the rows as another process would: this one is not told."""
    Service.objects.update(**columns)
    mark_changed()


def test_look_ups_in_a_row_cost_no_query(clock, django_assert_num_queries):
    register()
    lookup.choose("L02_runtime")

    with django_assert_num_queries(0):
        for _ in range(1000):
            lookup.choose("L02_runtime")


def test_comparing_costs_one_query_and_rebuilding_one_more(clock, django_assert_num_queries):
    register()
    lookup.choose("L02_runtime")

    clock.now += lookup.MAX_STALENESS_SEC
    with django_assert_num_queries(1):
        lookup.choose("L02_runtime")

    changed_elsewhere(status="healthy")
    clock.now += lookup.MAX_STALENESS_SEC
    with django_assert_num_queries(2):
        lookup.choose("L02_runtime")


def test_what_others_change_is_seen_within_the_allowed_staleness(clock):
    register()
    assert lookup.choose("L02_runtime").status == "unknown"

    changed_elsewhere(status="healthy")

    clock.now += lookup.MAX_STALENESS_SEC - 0.01
    assert lookup.choose("L02_runtime").status == "unknown"
    clock.now += 0.01
    assert lookup.choose("L02_runtime").status == "healthy"


def test_what_this_process_changes_is_seen_at_once(clock):
    first = register()
    assert lookup.choose("L02_runtime").service_id == first.service_id

    services.deregister(first.service_id)

    with pytest.raises(IntegrationError, match=r"^E11020: no service 'L02_runtime' is registered"):
        lookup.choose("L02_runtime")


def test_a_name_that_another_process_just_registered_is_found_at_once(clock):
    register("old")
    lookup.choose("old")
    changed_elsewhere(service_name="new")

    assert lookup.choose("new").service_name == "new"


def test_a_registration_that_was_rolled_back_is_forgotten(clock):
    lookup.forget()
    with transaction.atomic():
        register()
        assert lookup.choose("L02_runtime")
        transaction.set_rollback(True)

    clock.now += lookup.MAX_STALENESS_SEC
    with pytest.raises(IntegrationError, match=r"^E11020"):
        lookup.choose("L02_runtime")


def test_the_preferred_instance_is_taken_while_it_is_not_unhealthy():
    preferred = register(endpoint="http://127.0.0.1:1001", status="degraded")
    register(endpoint="http://127.0.0.1:1002", status="healthy")

    def ids():
        return {lookup.choose("L02_runtime", prefer_service_id=preferred.service_id).service_id for _ in range(50)}

    assert ids() == {preferred.service_id}
    changed_elsewhere_of(preferred, status="unhealthy")
    assert preferred.service_id not in ids()


def changed_elsewhere_of(info, **columns):
    Service.objects.filter(service_id=info.service_id).update(**columns)
    mark_changed()
    lookup.forget()


def test_who_just_failed_is_avoided_unless_there_is_no_other():
    one = register(endpoint="http://127.0.0.1:1001", status="healthy")
    two = register(endpoint="http://127.0.0.1:1002", status="healthy")

    assert lookup.choose("L02_runtime", avoid={one.service_id}).service_id == two.service_id
    assert lookup.choose("L02_runtime", avoid={one.service_id, two.service_id})


def test_maintenance_is_out_of_routing():
    out = register(endpoint="http://127.0.0.1:1001", status="healthy")
    other = register(endpoint="http://127.0.0.1:1002", status="unhealthy")
    maintenance.begin(out.service_id, minutes=5, reason="disk", by="ann")

    chosen = lookup.choose("L02_runtime")

    assert (chosen.service_id, chosen.last_resort) == (other.service_id, True)
    maintenance.end(out.service_id, by="ann")
    assert lookup.choose("L02_runtime").service_id == out.service_id


def test_requests_do_not_go_to_a_queue():
    register("L05", "celery://l05.planning")

    assert lookup.choose("L05", for_requests=False).endpoint == "celery://l05.planning"
    with pytest.raises(IntegrationError) as refused:
        lookup.choose("L05")
    assert refused.value.code is ErrorCode.NO_HEALTHY_INSTANCE


def test_requests_under_way_are_counted_and_returned():
    register()
    chosen = lookup.choose("L02_runtime")

    def fail():
        with lookup.using(chosen):
            seen.append(lookup.in_flight(chosen.service_id))
            raise TimeoutError

    seen = []
    with pytest.raises(TimeoutError):
        fail()

    assert seen == [1]
    assert lookup.in_flight(chosen.service_id) == 0


@pytest.mark.django_db(transaction=True)
def test_a_slow_refresh_holds_nobody_who_has_a_copy(clock, monkeypatch):
    register()
    lookup.choose("L02_runtime")
    inside, go_on = threading.Event(), threading.Event()

    def wait(execute, *args):
        inside.set()
        go_on.wait(10)
        return execute(*args)

    def refresh_slowly():
        with connection.execute_wrapper(wait):
            lookup.choose("L02_runtime")
        connection.close()

    clock.now += lookup.MAX_STALENESS_SEC
    slow = threading.Thread(target=refresh_slowly)
    slow.start()
    assert inside.wait(10)

    assert lookup.choose("L02_runtime")

    go_on.set()
    slow.join(10)
    assert not slow.is_alive()


@pytest.fixture
def no_database():
    """Every query fails, as when the server is away."""

    def fail(*args):
        raise OperationalError("server closed the connection")

    return lambda: connection.execute_wrapper(fail)


def test_while_the_database_is_away_requests_go_on_with_what_is_known(clock, no_database):
    register()
    lookup.choose("L02_runtime")

    with no_database():
        for _ in range(3):
            clock.now += lookup.MAX_STALENESS_SEC
            assert lookup.choose("L02_runtime")
        with pytest.raises(IntegrationError, match=r"^E11040"):
            lookup.choose("L99_unknown")


def test_requests_under_way_are_counted_right_by_many_threads():
    register()
    chosen = lookup.choose("L02_runtime")

    def use_it_often():
        for _ in range(2000):
            with lookup.using(chosen):
                pass

    threads = [threading.Thread(target=use_it_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert lookup.in_flight(chosen.service_id) == 0


def test_the_row_is_there_for_who_wants_more():
    info = register()

    assert row_of(info).endpoint == lookup.choose("L02_runtime").endpoint
