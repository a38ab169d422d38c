"""Registration and the policy of addresses: the bad registrations, and names that turn."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hub.errors import IntegrationError
from registry_app import addresses, tasks
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.models import Service
from registry_app.probes import run
from tests.processes import hub_environment
from tests.registry.samples import describe, http_check, register

pytestmark = pytest.mark.django_db

BAD = json.loads((Path(__file__).parent / "data" / "bad_registrations.json").read_text())


@pytest.fixture
def names(monkeypatch):
    """Answer names as the test says: no name server is asked, and what the kernel would do with addresses stays."""
    table = {}
    real = socket.getaddrinfo

    def answer(host, port, *args, **kwargs):
        if host not in table:
            return real(host, port, *args, **kwargs)
        if table[host] is None:
            raise socket.gaierror(-2, "Name or service not known")
        return real(table[host], port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return table


@pytest.fixture
def production(hub_settings, settings, names):
    settings.ALLOWED_HOSTS = ["hub.internal"]
    hub_settings(allow_loopback_endpoints=False, allowed_endpoint_networks="")
    names |= {"rebind.test": "127.0.0.1", "evil.example": None, "hub.internal": "93.184.215.14", "good.example": "93.184.215.14"}
    return hub_settings


@pytest.mark.parametrize("case", BAD, ids=[case["id"] for case in BAD])
def test_a_bad_registration_is_refused_and_leaves_nothing(case, production):
    if "allow-list" in case["title"]:
        production(allowed_endpoint_networks="10.0.0.0/8")

    result = getattr(tasks, case["task"]).apply(kwargs=case["kwargs"])

    assert result.failed()
    assert str(result.result).startswith(f"{case['code']}: ")
    assert Service.objects.count() == 0


def test_after_a_bad_one_a_good_one_is_taken(production):
    with pytest.raises(IntegrationError):
        register(endpoint="http://169.254.169.254")

    assert register(endpoint="http://good.example:8002").endpoint == "http://good.example:8002"


def test_the_hub_s_own_stores_are_no_services(settings):
    port = settings.REDIS_URL.rpartition(":")[2].partition("/")[0]

    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(IntegrationError, match=r"^E11080: .* is the hub itself or one of its stores"):
            register(endpoint=f"http://{host}:{port}")


def test_the_address_of_a_check_is_looked_at_too(production):
    with pytest.raises(IntegrationError, match=r"^E11880"):
        register(endpoint="http://good.example", check=http_check("http://169.254.169.254/latest/meta-data"))
    with pytest.raises(IntegrationError, match=r"^E11880"):
        register(endpoint="http://good.example", check=HealthCheck(HealthCheckType.TCP, "127.0.0.1:5555"))


def test_a_name_that_is_not_known_yet_may_register(names):
    names["later.example"] = None

    assert register(endpoint="http://later.example").status == "unknown"


def test_a_name_that_turns_to_a_refused_address_is_not_connected_to(production, names, httpserver):
    info = register(endpoint="http://good.example", check=http_check("/"))
    names["good.example"] = "127.0.0.1"

    found = run(describe(endpoint=f"http://good.example:{httpserver.port}", check=http_check("/")).health_check)

    assert info.status == "unknown"
    assert found["probe"].reason == "good.example: 127.0.0.1 is loopback, private or reserved"
    assert httpserver.log == []


def test_a_dead_zone_does_not_take_the_resolver_from_others(monkeypatch):
    over = threading.Event()

    def look_up(host, port, **_):
        if host.startswith("dead"):
            over.wait(20)
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    addresses._resolver.cache_clear()
    try:
        for _ in range(20):
            for host in ("dead1.example", "dead2.example"):
                with pytest.raises(IntegrationError, match=r"^E11347: "):
                    addresses.resolve(host, 80, addresses.current_policy(), timeout_sec=0.01)

        assert addresses.resolve("well.example", 80, addresses.current_policy()) == ["93.184.216.34"]
    finally:
        over.set()
        addresses._resolver.cache_clear()


def test_a_name_server_that_does_not_answer_does_not_hold_up_the_end_of_a_process():
    script = (
        "from hub.setup import ensure_django; ensure_django()\n"
        "import socket, time\n"
        "from registry_app import addresses\n"
        "socket.getaddrinfo = lambda *_, **__: time.sleep(60)\n"
        "try: addresses.resolve('dead.example', 80, addresses.current_policy(), timeout_sec=0.1)\n"
        "except addresses.IntegrationError as exc: print(exc.code)\n"
    )

    ended = subprocess.run([sys.executable, "-c", script], env=hub_environment(), capture_output=True, text=True, timeout=40)

    assert (ended.returncode, ended.stdout) == (0, "E11347\n"), ended.stderr
