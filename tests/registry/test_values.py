"""Descriptions of services: what is taken, and that they travel as JSON."""

import pytest

from hub.errors import ErrorCode, IntegrationError
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.values import ServiceInfo, instance_id
from tests.registry.samples import describe, http_check


def refused(code):
    return pytest.raises(IntegrationError, match=f"^{code.value}: ")


def test_the_seed_s_example_is_a_service():
    service = ServiceInfo.create(
        service_name="L02_runtime",
        service_version="0.1.0",
        endpoint="http://localhost:8002",
        health_check=HealthCheck(check_type=HealthCheckType.HTTP, endpoint="http://localhost:8002/health"),
    )

    assert (service.service_name, service.status, service.tags, service.metadata) == ("L02_runtime", "unknown", [], {})


def test_a_description_survives_json():
    check = HealthCheck(HealthCheckType.CELERY, "l05.planning", tasks=("l05.plan",), max_message_age_sec=60)
    service = describe(check=check, metadata={"zone": "a", "slots": 4}, capabilities=["plan"], tags=["gpu"], weight=10)

    assert ServiceInfo.from_dict(service.to_dict()) == service


@pytest.mark.parametrize("endpoint", ["http://Host:80", "http://host/", "HTTP://host"])
def test_one_instance_has_one_id_however_its_endpoint_is_written(endpoint):
    assert describe(endpoint=endpoint).service_id == describe(endpoint="http://host").service_id


def test_name_and_endpoint_make_the_id():
    ids = {instance_id(name, endpoint) for name in ("a", "b") for endpoint in ("http://x", "http://y")}

    assert len(ids) == 4


@pytest.mark.parametrize("name", ["", "1st", "a b", "a" * 65, "naïve", "a\n", None, 7])
def test_names_are_plain_words(name):
    with refused(ErrorCode.SERVICE_NAME_INVALID):
        describe(name=name)


@pytest.mark.parametrize("version", ["2.0.0-rc.1", "1.4.0-alpha", "1.4.0+3fa9c1", "v1.4"])
def test_versions_may_be_written_as_other_languages_do(version):
    assert describe(version=version).service_version == version


def test_who_names_a_build_as_a_version_is_told_how():
    with pytest.raises(IntegrationError, match=r"1\.4\.0-3fa9c1.*such as 0\.1\.0, 2\.0\.0-rc\.1 or 1\.4\.0\+3fa9c1"):
        describe(version="1.4.0-3fa9c1")


@pytest.mark.parametrize("version", ["", "latest", "1.0; rm", " 1.0", "1" * 65, None])
def test_versions_can_be_compared(version):
    with refused(ErrorCode.SERVICE_VERSION_INVALID):
        describe(version=version)


@pytest.mark.parametrize("metadata", [["a"], {"a": {}}, {"a": None}, {"a": [1]}])
def test_metadata_is_flat(metadata):
    with refused(ErrorCode.METADATA_INVALID):
        describe(metadata=metadata)


def test_metadata_has_a_size():
    with refused(ErrorCode.METADATA_TOO_LARGE):
        describe(metadata={"a": "x" * 16_384})


@pytest.mark.parametrize("tags", ["gpu", ["a b"], [""], ["x" * 65], [1], [[1]], [{}], [f"t{n}" for n in range(65)]])
def test_tags_are_a_list_of_words(tags):
    with refused(ErrorCode.TAG_INVALID):
        describe(tags=tags)


@pytest.mark.parametrize("weight", [0, -1, 1001, 1.5, True, "1"])
def test_weights_are_whole_and_positive(weight):
    with refused(ErrorCode.ARGUMENT_TYPE):
        describe(weight=weight)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"interval_sec": 0}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"interval_sec": float("nan")}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"interval_sec": 10**400}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"degraded_after_sec": 10**400}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"interval_sec": 100_000}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"timeout_sec": -1}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"timeout_sec": 31}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"timeout_sec": 61, "interval_sec": 100}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"degraded_after_sec": -1}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"failure_threshold": 0}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"success_threshold": 1.5}, ErrorCode.CHECK_INTERVAL_INVALID),
        ({"expected_status": (99,)}, ErrorCode.CHECK_EXPECTATION_INVALID),
        ({"body_contains": "x" * 600}, ErrorCode.CHECK_EXPECTATION_INVALID),
        ({"body_contains": "a\0"}, ErrorCode.JSON_VALUE_REFUSED),
        ({"grpc_service": "\ud800"}, ErrorCode.JSON_VALUE_REFUSED),
        ({"tasks": ("a\0",)}, ErrorCode.JSON_VALUE_REFUSED),
        ({"endpoint": "/a\0"}, ErrorCode.JSON_VALUE_REFUSED),
        ({"endpoint": "ftp://host/health"}, ErrorCode.CHECK_ENDPOINT_INVALID),
        ({"endpoint": "//evil/health"}, ErrorCode.CHECK_ENDPOINT_INVALID),
    ],
)
def test_checks_that_cannot_work_are_refused(options, code):
    with refused(code):
        describe(check=http_check(**options))


@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [
        (HealthCheckType.TCP, "host"),
        (HealthCheckType.TCP, "host:0"),
        (HealthCheckType.TCP, "host:99999"),
        (HealthCheckType.TCP, "user@host:80"),
        (HealthCheckType.GRPC, "http://host:80"),
        (HealthCheckType.REDIS, "redis://:secret@host:6379/0"),
        (HealthCheckType.CELERY, "a queue"),
    ],
)
def test_check_endpoints_fit_their_kind(kind, endpoint):
    with refused(ErrorCode.CHECK_ENDPOINT_INVALID):
        HealthCheck(kind, endpoint)


def test_a_password_is_never_repeated():
    with pytest.raises(IntegrationError) as caught:
        describe(endpoint="http://user:hunter2@host:8002")

    assert caught.value.code is ErrorCode.ENDPOINT_HAS_CREDENTIALS
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "given", "whole"),
    [
        (HealthCheckType.HTTP, "/health", "http://host:8002/base/health"),
        (HealthCheckType.HTTP, "", "http://host:8002/base"),
        (HealthCheckType.TCP, "", "host:8002"),
        (HealthCheckType.GRPC, "other:50051", "other:50051"),
        (HealthCheckType.TTL, "", ""),
    ],
)
def test_a_check_may_be_given_relative_to_its_service(kind, given, whole):
    service = describe(endpoint="http://host:8002/base/", check=HealthCheck(kind, given))

    assert service.health_check.endpoint == whole


@pytest.mark.parametrize(("kind", "endpoint"), [(HealthCheckType.CELERY, "http://host:8002"), (HealthCheckType.TCP, "celery://l05")])
def test_a_check_of_another_kind_than_its_service_names_its_place(kind, endpoint):
    with refused(ErrorCode.CHECK_ENDPOINT_INVALID):
        describe(endpoint=endpoint, check=HealthCheck(kind))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, ErrorCode.ARGUMENT_MISSING),
        ([], ErrorCode.ARGUMENT_TYPE),
        ({"service_name": "a", "service_version": "1"}, ErrorCode.ARGUMENT_MISSING),
        ({"service_name": "a", "service_version": "1", "endpoint": "http://h", "colour": 1}, ErrorCode.ARGUMENT_UNKNOWN),
        ({"service_name": "a", "service_version": "1", "endpoint": "http://h", "health_check": {}}, ErrorCode.ARGUMENT_MISSING),
        (
            {"service_name": "a", "service_version": "1", "endpoint": "http://h", "health_check": {"check_type": "command"}},
            ErrorCode.CHECK_TYPE_INVALID,
        ),
        (
            {"service_name": "a", "service_version": "1", "endpoint": "http://h", "health_check": {"check_type": "http", "x": 1}},
            ErrorCode.ARGUMENT_UNKNOWN,
        ),
        (
            {
                "service_name": "a",
                "service_version": "1",
                "endpoint": "http://h",
                "health_check": {"check_type": "http", "expected_status": 200},
            },
            ErrorCode.ARGUMENT_TYPE,
        ),
    ],
)
def test_json_of_the_wrong_shape_is_named(given, code):
    with refused(code):
        ServiceInfo.from_dict(given)
