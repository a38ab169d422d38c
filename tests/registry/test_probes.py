"""Probes against real servers: each says what it found, and none takes longer than it may."""

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from hub import redis_client
from hub.embedded import free_port
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.probes import celery_queue, run
from registry_app.rules import Verdict
from tests.registry.targets import deaf_port, raw_server, start_grpc_server

CERTIFICATE = Path(__file__).parent / "data" / "localhost.pem"
LIMIT_SEC = 1.0
GRACE_SEC = 4.0  # for a machine that has other things to do


def probe(kind, endpoint, **options):
    started = time.monotonic()
    finding = run(HealthCheck(kind, endpoint, timeout_sec=LIMIT_SEC, **options))["probe"]
    assert time.monotonic() - started < LIMIT_SEC + GRACE_SEC
    return finding.verdict, finding.reason


def http(endpoint, **options):
    return probe(HealthCheckType.HTTP, endpoint, **options)


@pytest.mark.parametrize(
    ("status", "options", "expected"),
    [
        (200, {}, (Verdict.GOOD, "HTTP 200")),
        (204, {}, (Verdict.GOOD, "HTTP 204")),
        (500, {}, (Verdict.BAD, "HTTP 500")),
        (404, {"expected_status": (404,)}, (Verdict.GOOD, "HTTP 404")),
        (200, {"expected_status": (404,)}, (Verdict.BAD, "HTTP 200")),
        (200, {"body_contains": "up"}, (Verdict.GOOD, "HTTP 200")),
        (200, {"body_contains": "down"}, (Verdict.BAD, "HTTP 200, but the answer does not contain 'down'")),
    ],
)
def test_status_and_body_are_judged(httpserver, status, options, expected):
    httpserver.expect_request("/health").respond_with_data("up", status=status)

    assert http(httpserver.url_for("/health"), **options) == expected


def test_a_redirect_is_not_followed(httpserver):
    httpserver.expect_request("/health").respond_with_response(Response(status=302, headers={"Location": httpserver.url_for("/elsewhere")}))

    assert http(httpserver.url_for("/health")) == (Verdict.BAD, "HTTP 302 (a redirect is not followed)")
    assert [request.path for request, _ in httpserver.log] == ["/health"]


def test_a_slow_answer_is_slow(httpserver):
    httpserver.expect_request("/").respond_with_handler(lambda _: time.sleep(0.15) or Response("ok"))

    verdict, reason = http(httpserver.url_for("/"), degraded_after_sec=0.1)

    assert verdict is Verdict.SLOW
    assert reason.endswith("more than 100 ms (HTTP 200)")


def test_nobody_there():
    port = free_port()

    assert http(f"http://127.0.0.1:{port}/") == (
        Verdict.BAD,
        f"could not connect to 127.0.0.1:{port} (127.0.0.1: Connection refused)",
    )


def test_no_such_name(monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert http("http://no-such-host.invalid/") == (
        Verdict.BAD,
        "no-such-host.invalid cannot be resolved: [Errno -2] Name or service not known",
    )


def test_a_name_server_that_does_not_answer_ends_with_the_time(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: over.wait(10))

    try:
        verdict, reason = http("http://slow.example/")
    finally:
        over.set()

    assert verdict is Verdict.BAD
    assert reason in ("slow.example was not resolved within 1 s", "no whole answer within 1 s")


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_an_answer_that_drips_ends_with_the_time(beginning):
    with raw_server(beginning, drip_sec=0.1) as port:
        finding = http(f"http://127.0.0.1:{port}/", body_contains="never")

    assert finding == (Verdict.BAD, "no whole answer within 1 s")


def test_an_endless_answer_is_read_only_in_part():
    with raw_server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 3_000_000) as port:
        verdict, reason = http(f"http://127.0.0.1:{port}/", body_contains="y")

    assert (verdict, reason) == (Verdict.BAD, "HTTP 200, but the answer does not contain 'y'")


def test_rubbish_is_no_answer():
    with raw_server(b"\x00\x01SSH-2.0 hello\r\n\r\n") as port:
        verdict, _ = http(f"http://127.0.0.1:{port}/")

    assert verdict is Verdict.BAD


def test_proxies_of_the_environment_are_ignored(httpserver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    httpserver.expect_request("/").respond_with_data("ok")

    assert http(httpserver.url_for("/")) == (Verdict.GOOD, "HTTP 200")


@pytest.fixture(scope="module")
def tls_service():
    """A service with a certificate for localhost that it signed itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with HTTPServer(ssl_context=context) as server:
        server.expect_request("/").respond_with_data("ok")
        yield server.url_for("/")


def test_a_certificate_is_checked(tls_service):
    verdict, reason = http(tls_service)

    assert verdict is Verdict.BAD
    assert "certificate verify failed" in reason


def test_a_certificate_of_the_site_s_own_authority_is_taken(tls_service, hub_settings):
    hub_settings(request_ca_file=str(CERTIFICATE))

    assert http(tls_service) == (Verdict.GOOD, "HTTP 200")


def test_a_handshake_that_drips_ends_with_the_time():
    with raw_server(b"\x16\x03\x03\x40\x00", drip_sec=0.1) as port:
        assert http(f"https://127.0.0.1:{port}/") == (Verdict.BAD, "no whole answer within 1 s")


def test_an_open_port_is_good_a_closed_one_not():
    with raw_server(b"") as port:
        assert probe(HealthCheckType.TCP, f"127.0.0.1:{port}") == (Verdict.GOOD, "the port is open")

    assert probe(HealthCheckType.TCP, f"tcp://127.0.0.1:{free_port()}") == (Verdict.BAD, "no connection: Connection refused")


@pytest.mark.parametrize("kind", [HealthCheckType.HTTP, HealthCheckType.TCP])
def test_an_address_that_says_nothing_leaves_the_next_one_time(monkeypatch, kind):
    with deaf_port() as port, socket.create_server(("127.0.0.9", port)) as other:
        both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "127.0.0.9")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: both)
        threading.Thread(target=lambda: other.accept()[0].sendall(b"HTTP/1.1 204 No Content\r\n\r\n"), daemon=True).start()
        place = f"two-addresses.example:{port}"

        verdict, reason = probe(kind, f"http://{place}/" if kind is HealthCheckType.HTTP else place)

    assert (verdict, reason) in ((Verdict.GOOD, "HTTP 204"), (Verdict.GOOD, "the port is open"))


def test_connecting_has_an_end():
    with deaf_port() as port:
        assert probe(HealthCheckType.TCP, f"127.0.0.1:{port}") == (Verdict.BAD, "no connection within 1 s")


def test_a_redis_server_says_pong(settings):
    place = settings.REDIS_URL.removesuffix("/0")

    assert probe(HealthCheckType.REDIS, place) == (Verdict.GOOD, "PONG")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"-NOAUTH Authentication required.\r\n", (Verdict.GOOD, "it answers, and asks for a password")),
        (b"-LOADING Redis is loading the dataset in memory\r\n", (Verdict.SLOW, "LOADING Redis is loading the dataset in memory")),
        (b"HTTP/1.1 400 Bad Request\r\n", (Verdict.BAD, "unexpected answer 'HTTP/1.1 400 Bad Request'")),
        (b"", (Verdict.BAD, "no answer")),
    ],
)
def test_answers_to_ping_are_judged(answer, expected):
    with raw_server(answer) as port:
        assert probe(HealthCheckType.REDIS, f"127.0.0.1:{port}") == expected


def test_a_redis_that_drips_ends_with_the_time():
    with raw_server(b"+", drip_sec=0.1) as port:
        assert probe(HealthCheckType.REDIS, f"redis://127.0.0.1:{port}") == (Verdict.BAD, "no answer within 1 s")


def test_grpc_servers_are_asked_by_the_standard_protocol():
    server, port = start_grpc_server()
    try:
        assert probe(HealthCheckType.GRPC, f"127.0.0.1:{port}") == (Verdict.GOOD, "SERVING")
        assert probe(HealthCheckType.GRPC, f"127.0.0.1:{port}", grpc_service="planning") == (Verdict.BAD, "NOT_SERVING")
        assert probe(HealthCheckType.GRPC, f"127.0.0.1:{port}", grpc_service="other") == (
            Verdict.BAD,
            "the server knows no service 'other'",
        )
    finally:
        server.kill()
        server.wait(10)

    verdict, reason = probe(HealthCheckType.GRPC, f"127.0.0.1:{port}")
    assert verdict is Verdict.BAD
    assert reason.startswith("UNAVAILABLE")


def test_a_grpc_server_is_well_at_whichever_address_of_its_name_it_listens(monkeypatch):
    server, port = start_grpc_server()
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.9", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: both)
    try:
        assert probe(HealthCheckType.GRPC, f"two-addresses.example:{port}") == (Verdict.GOOD, "SERVING")
    finally:
        server.kill()
        server.wait(10)


def test_a_grpc_server_that_hangs_ends_with_the_time():
    with raw_server(b"", drip_sec=0.3) as port:
        verdict, _ = probe(HealthCheckType.GRPC, f"127.0.0.1:{port}")

    assert verdict is Verdict.BAD


def test_the_age_of_a_queue_is_measured_by_a_mark():
    client, queue = redis_client.client(), "queue-with-a-mark"
    client.lpush(queue, "first")
    assert celery_queue.measure_queue(queue) == (1, 0.0)

    client.lpush(queue, "second")
    time.sleep(0.05)
    length, waited = celery_queue.measure_queue(queue)
    assert length == 2
    assert 0.05 <= waited < 2

    client.rpop(queue)
    assert celery_queue.measure_queue(queue) == (1, 0.0)  # the mark is gone, a new one is set
    client.delete(queue)
    assert celery_queue.measure_queue(queue) == (0, 0.0)
    assert client.keys("hub:registry:queue_mark:queue-with-a-mark") == []
