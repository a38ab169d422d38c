"""Which instance gets a request."""

import random
from collections import Counter

import pytest

from hub.errors import IntegrationError
from registry_app.choice import Instance, only_choice, pick
from registry_app.values import ServiceStatus


def instance(name, status=ServiceStatus.HEALTHY, **options):
    given = {"service_version": "1.0", "endpoint": f"http://{name}", "weight": 100} | options
    return Instance(service_id=name, service_name="s", status=status, **given)


def spread(*instances, draws=2000, in_flight=None, **options):
    loads = in_flight or {}
    draw = random.Random(7)
    chosen = (pick(instances, now=0, in_flight=lambda key: loads.get(key, 0), draw=draw, **options) for _ in range(draws))
    return Counter(one.service_id for one in chosen)


def test_equal_instances_get_equal_shares():
    counts = spread(instance("a"), instance("b"))

    assert counts["a"] == pytest.approx(1000, abs=100)


def test_weight_makes_the_share():
    counts = spread(instance("a", weight=300), instance("b", weight=100))

    assert counts["a"] == pytest.approx(1500, abs=100)


def test_a_degraded_instance_gets_a_quarter_of_its_share():
    counts = spread(instance("a"), instance("b", ServiceStatus.DEGRADED))

    assert counts["b"] == pytest.approx(400, abs=80)


def test_an_unhealthy_instance_gets_nothing_while_another_lives():
    assert set(spread(instance("a", ServiceStatus.DEGRADED), instance("b", ServiceStatus.UNHEALTHY))) == {"a"}


def test_an_instance_without_a_check_is_trusted():
    counts = spread(instance("a"), instance("b", ServiceStatus.UNKNOWN, has_check=False))

    assert counts["b"] == pytest.approx(1000, abs=100)


def test_the_idle_one_is_preferred():
    counts = spread(instance("a"), instance("b"), in_flight={"a": 10})

    assert counts["b"] == pytest.approx(1500, abs=100)


def test_a_strong_one_may_have_more_in_flight():
    counts = spread(instance("a", weight=900), instance("b", weight=100), in_flight={"a": 5, "b": 1})

    assert counts["a"] > 1700


def test_the_last_resort_is_an_unhealthy_one_and_says_so():
    chosen = pick([instance("a", ServiceStatus.UNHEALTHY)], now=0, in_flight=lambda _: 0)

    assert (chosen.service_id, chosen.last_resort) == ("a", True)


def test_the_last_resorts_share_the_load():
    counts = spread(instance("a", ServiceStatus.UNHEALTHY), instance("b", ServiceStatus.UNHEALTHY))

    assert counts["a"] == pytest.approx(1000, abs=100)


def test_maintenance_is_out_of_routing_until_its_end():
    busy = instance("a", maintenance_until=100)

    assert set(spread(busy, instance("b"))) == {"b"}
    assert pick([busy], now=100, in_flight=lambda _: 0).service_id == "a"


def test_if_all_are_in_maintenance_nobody_is_chosen():
    with pytest.raises(IntegrationError, match=r"^E11024: every instance of s is in maintenance"):
        pick([instance("a", maintenance_until=100)], now=99, in_flight=lambda _: 0)


@pytest.mark.parametrize(
    ("constraint", "chosen"),
    [(">=2", {"new", "beta"}), ("<2", {"old"}), ("==1.*", {"old"}), (">=0.2", {"old", "new", "beta"}), (">2", {"beta"})],
)
def test_a_version_constraint_is_kept(constraint, chosen):
    instances = instance("old", service_version="1.4"), instance("new", service_version="2.0"), instance("beta", service_version="2.1rc1")

    assert set(spread(*instances, version=constraint)) == chosen


def test_a_version_nobody_has_is_named_with_what_there_is():
    with pytest.raises(IntegrationError, match=r"^E11025: no instance of s has a version >=3 \(there are 1\.0\)"):
        pick([instance("a")], now=0, in_flight=lambda _: 0, version=">=3")


@pytest.mark.parametrize("version", ["newest", 5, 1.5, True, ["==1.0"], {}])
def test_a_malformed_constraint_is_refused(version):
    with pytest.raises(IntegrationError, match=r"^E11002: not a version constraint"):
        pick([instance("a")], now=0, in_flight=lambda _: 0, version=version)


@pytest.mark.parametrize("status", list(ServiceStatus))
@pytest.mark.parametrize("has_check", [True, False])
@pytest.mark.parametrize("weight", [0, 100])
@pytest.mark.parametrize("until", [None, 99.0, 101.0])
@pytest.mark.parametrize("endpoint", ["http://a", "celery://l03"])
def test_the_only_choice_is_what_the_rules_would_choose(status, has_check, weight, until, endpoint):
    one = instance("a", status, has_check=has_check, weight=weight, maintenance_until=until, endpoint=endpoint)

    only = only_choice([one])

    if only is not None:
        assert only is one is pick([one], now=100.0, in_flight=lambda _: 7)
        assert one.takes_requests
    assert only_choice([one, one]) is None


def test_a_healthy_instance_alone_is_the_only_choice():
    one = instance("a")

    assert only_choice([one]) is one
