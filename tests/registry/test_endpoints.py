"""Endpoint URLs: nothing that two parsers could read differently gets in."""

import ipaddress

import pytest

from hub.errors import ErrorCode, IntegrationError
from registry_app.endpoints import AddressPolicy, is_listed, parse_endpoint, read_allow_list, why_refused

PRODUCTION = AddressPolicy()
ONE_MACHINE = AddressPolicy(allow_private=True)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("http://localhost:8002", "http://localhost:8002"),
        ("HTTPS://Host.Example:443/", "https://host.example"),
        ("http://[::1]:8002/base/", "http://[::1]:8002/base"),
        ("http://10.0.0.5/a/b", "http://10.0.0.5/a/b"),
        ("http://my_service:8000", "http://my_service:8000"),
        ("celery://L05.Planning", "celery://L05.Planning"),
        ("celery://l05/worker1@host-2", "celery://l05/worker1@host-2"),
    ],
)
def test_a_good_endpoint_has_one_spelling(url, canonical):
    assert parse_endpoint(url).url == canonical
    assert parse_endpoint(canonical).url == canonical


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (None, ErrorCode.ENDPOINT_INVALID),
        ("", ErrorCode.ENDPOINT_INVALID),
        ("host:8002", ErrorCode.ENDPOINT_SCHEME_REFUSED),
        ("/relative", ErrorCode.ENDPOINT_SCHEME_REFUSED),
        ("//host/x", ErrorCode.ENDPOINT_SCHEME_REFUSED),
        ("file:///etc/passwd", ErrorCode.ENDPOINT_SCHEME_REFUSED),
        ("gopher://host:70", ErrorCode.ENDPOINT_SCHEME_REFUSED),
        ("unix:///run/docker.sock", ErrorCode.ENDPOINT_SCHEME_REFUSED),
        ("http://", ErrorCode.ENDPOINT_INVALID),
        ("http:///path", ErrorCode.ENDPOINT_INVALID),
        ("http://host:", ErrorCode.ENDPOINT_INVALID),
        ("http://host:99999", ErrorCode.ENDPOINT_INVALID),
        ("http://host:abc", ErrorCode.ENDPOINT_INVALID),
        ("http://host:0", ErrorCode.ENDPOINT_PORT_REFUSED),
        ("http://host:6379", ErrorCode.ENDPOINT_PORT_REFUSED),
        ("http://host:22", ErrorCode.ENDPOINT_PORT_REFUSED),
        ("http://user@host", ErrorCode.ENDPOINT_HAS_CREDENTIALS),
        ("http://user:pw@host", ErrorCode.ENDPOINT_HAS_CREDENTIALS),
        ("http://@host", ErrorCode.ENDPOINT_HAS_CREDENTIALS),
        ("http://host/?", ErrorCode.ENDPOINT_HAS_QUERY_OR_FRAGMENT),
        ("http://host/#", ErrorCode.ENDPOINT_HAS_QUERY_OR_FRAGMENT),
        ("http://host\\@evil", ErrorCode.ENDPOINT_INVALID),
        ("http://host\t.evil", ErrorCode.ENDPOINT_INVALID),
        ("http://host/\r\nX: y", ErrorCode.ENDPOINT_INVALID),
        ("http://①27.0.0.1", ErrorCode.ENDPOINT_INVALID),
        ("http://hõst", ErrorCode.ENDPOINT_INVALID),
        ("http://-host", ErrorCode.ENDPOINT_INVALID),
        ("http://ho..st", ErrorCode.ENDPOINT_INVALID),
        ("http://[::1", ErrorCode.ENDPOINT_INVALID),
        ("http://[::zz]:80", ErrorCode.ENDPOINT_INVALID),
        ("http://[fe80::1%25eth0]", ErrorCode.ENDPOINT_INVALID),
        ("http://host/a/../b", ErrorCode.ENDPOINT_INVALID),
        ("http://host/%2e%2e/b", ErrorCode.ENDPOINT_INVALID),
        ("http://host//b", ErrorCode.ENDPOINT_INVALID),
        ("http://" + "h" * 600, ErrorCode.ENDPOINT_INVALID),
        ("celery://", ErrorCode.ENDPOINT_INVALID),
        ("celery://queue/a/b", ErrorCode.ENDPOINT_INVALID),
    ],
)
def test_a_bad_endpoint_is_refused_by_name(url, code):
    with pytest.raises(IntegrationError) as caught:
        parse_endpoint(url)

    assert caught.value.code is code


NEVER = [
    "169.254.169.254",
    "fe80::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "0.0.0.0",  # noqa: S104
    "::",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "fec0::1",
]
PRIVATE = ["127.0.0.1", "127.8.8.8", "::1", "10.0.0.5", "172.16.0.1", "192.168.1.1", "fd12::1"]
GLOBAL = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]


@pytest.mark.parametrize("address", NEVER + PRIVATE)
def test_production_reaches_only_the_open_network(address):
    assert why_refused(address, PRODUCTION)


@pytest.mark.parametrize("address", GLOBAL)
def test_the_open_network_is_reached(address):
    assert why_refused(address, PRODUCTION) is None


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_refused_on_one_machine_too(address):
    assert why_refused(address, ONE_MACHINE)


@pytest.mark.parametrize("address", PRIVATE)
def test_one_machine_reaches_itself(address):
    assert why_refused(address, ONE_MACHINE) is None


@pytest.mark.parametrize(
    "wrapped",
    [
        "::ffff:169.254.169.254",
        "::ffff:0:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_an_address_in_wrapping_is_unwrapped(wrapped):
    assert "169.254.169.254" in why_refused(wrapped, ONE_MACHINE)


def test_a_named_network_is_reached_even_if_it_is_private():
    policy = AddressPolicy(networks=(ipaddress.ip_network("10.0.0.0/8"),))

    assert why_refused("10.0.0.5", policy) is None
    assert why_refused("192.168.1.1", policy)


def test_an_allow_list_names_networks_and_hosts():
    networks, suffixes = read_allow_list("10.0.0.0/8, *.internal.example ,fd00::/8")
    policy = AddressPolicy(networks=networks, host_suffixes=suffixes)

    assert is_listed("a.internal.example", None, policy)
    assert is_listed("internal.example.", None, policy)
    assert is_listed("other", "10.1.2.3", policy)
    assert not is_listed("evilinternal.example", None, policy)
    assert not is_listed("other", "11.1.2.3", policy)
