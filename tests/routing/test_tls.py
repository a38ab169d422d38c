"""The limits of a call hold over TLS too."""

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from hub.circuits import breaker
from hub.errors import RequestFailed
from hub.routing import services
from tests.routing.targets import Target

CERTIFICATE = Path(__file__).parent.parent / "registry" / "data" / "localhost.pem"
GRACE_SEC = 3.0  # for a machine that has other things to do


@pytest.fixture
def tls_target():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    found = Target(tls=context)
    yield found
    found.stop()


@pytest.fixture
def tls_service(tls_target, register, settings):
    settings.HUB = settings.HUB.model_copy(update={"request_ca_file": str(CERTIFICATE)})
    return register(tls_target.url)


def test_answers_come_over_one_kept_connection(tls_service, tls_target):
    for _ in range(3):
        assert services.route(tls_service, "POST", "/x", data={"a": 1}).status_code == 200

    assert (len(tls_target.requests), tls_target.connections) == (3, 1)


def test_a_large_body_is_sent_in_parts(tls_service):
    text = "x" * 900_000

    assert len(services.route(tls_service, "POST", "/x", data=text).body["body"]) == len(text) + 2


@pytest.mark.parametrize(("path", "code"), [("/hang", "E11342"), ("/drip", "E11342"), ("/huge", "E11361"), ("/close", "E11343")])
def test_a_bad_answer_gives_its_code_in_time(tls_service, path, code):
    started = time.monotonic()

    with pytest.raises(RequestFailed) as caught:
        services.route(tls_service, "POST", path, timeout=1.5)

    assert time.monotonic() - started < 1.5 + GRACE_SEC
    assert (caught.value.code, caught.value.outcome) == (code, "unknown")


def test_a_handshake_that_never_ends_is_left_at_the_deadline_with_nothing_sent(register):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_drip, args=(server,), daemon=True).start()
        name, started = register(f"https://127.0.0.1:{server.getsockname()[1]}"), time.monotonic()

        with pytest.raises(RequestFailed) as caught:
            services.route(name, "POST", "/x", timeout=0.5)

        assert time.monotonic() - started < 0.5 + GRACE_SEC
        assert (caught.value.code, caught.value.outcome) == ("E11340", "nothing_sent")
        assert breaker.look(name).failure_count == 1


def _drip(server):
    connection, _ = server.accept()
    try:
        for byte in b"\x16\x03\x03\x40\x00" + bytes(1000):
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
    except OSError:
        return  # the caller hung up, as it should
