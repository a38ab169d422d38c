"""Bad arguments give their code before anything is sent."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import IntegrationError
from hub.routing import paths, request
from hub.routing.request import Limits


def build(**changes):
    arguments = {"service_name": "L02_runtime", "method": "POST", "path": "/execute", "limits": Limits(max_body_bytes=1000)}
    return request.build(**arguments | changes)


HOSTILE_PATHS = [
    ("http://127.0.0.1:6379/", "E11380"),
    ("HTTP://evil/", "E11380"),
    ("file:///etc/passwd", "E11380"),
    ("javascript:alert(1)", "E11380"),
    ("//169.254.169.254/latest", "E11380"),
    ("///evil/x", "E11380"),
    ("@169.254.169.254/", "E11302"),
    (":80@evil/", "E11302"),
    (".evil.com/", "E11302"),
    ("evil", "E11302"),
    ("", "E11302"),
    ("?x=1", "E11302"),
    ("/../admin", "E11380"),
    ("/..", "E11380"),
    ("/a/../../b", "E11380"),
    ("/./a", "E11380"),
    ("/a/.", "E11380"),
    ("/%2e%2e/admin", "E11380"),
    ("/%2E%2E/admin", "E11380"),
    ("/.%2e/admin", "E11380"),
    ("/%252e%252e/admin", "E11380"),
    ("/%25252e%25252e/admin", "E11380"),
    ("/..%2fadmin", "E11380"),
    ("/..%252fadmin", "E11380"),
    ("/..;/admin", "E11380"),
    ("/..;a=b/admin", "E11380"),
    ("/%2e%2e;/admin", "E11380"),
    ("/%2f%2fevil", "E11380"),
    ("/%2fevil", "E11380"),
    ("/\\evil\\x", "E11302"),
    ("\\\\evil\\x", "E11302"),
    ("/%5c%5cevil", "E11302"),
    ("/a%5c..%5cb", "E11302"),
    ("/a\r\nHost: evil", "E11302"),
    ("/a\nX: 1", "E11302"),
    ("/a%0d%0aHost:%20evil", "E11302"),
    ("/a%00b", "E11302"),
    ("/a\x00b", "E11302"),
    ("/a b", "E11302"),
    ("/a\tb", "E11302"),
    ("/a HTTP/1.1", "E11302"),
    ("/x#y", "E11302"),
    ("/x#@evil", "E11302"),
    ("/a%zz", "E11302"),
    ("/a%", "E11302"),
    ("/a\u2028b", "E11302"),
    ("/a\x7fb", "E11302"),
    ("/a\x85b", "E11302"),
    ("/\ud800", "E11302"),
    ("/" + "a" * 3000, "E11302"),
    ("/%25252525252e", "E11302"),
]


@pytest.mark.parametrize(("path", "code"), HOSTILE_PATHS)
def test_a_hostile_path_is_refused(path, code):
    with pytest.raises(IntegrationError) as caught:
        build(path=path)

    assert caught.value.code == code


@given(st.text(max_size=40), st.sampled_from(["http://10.0.0.1:8000", "http://10.0.0.1:8000/base", "https://host"]))
def test_whatever_path_is_accepted_stays_below_its_endpoint(path, endpoint):
    try:
        target = paths.check_path("/" + path)
    except IntegrationError:
        return

    assert paths.join(endpoint, target).startswith(endpoint + "/")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/execute", "/execute"),
        ("/", "/"),
        ("/a/b.c/...", "/a/b.c/..."),
        ("/grüße", "/gr%C3%BC%C3%9Fe"),
        ("/a%20b", "/a%20b"),
        ("/a%2Fb", "/a%2Fb"),
        ("/users/a@b.c", "/users/a@b.c"),
        ("/a?x=1&y=a/b", "/a?x=1&y=a/b"),
        ("/a?next=http://x/", "/a?next=http://x/"),
    ],
)
def test_an_ordinary_path_is_sent_as_it_is(path, sent):
    assert build(path=path).target == sent


HOSTILE_HEADERS = [
    ({"x-a": "1\r\nx-admin: 1"}, "E11303"),
    ({"x-a": "1\n"}, "E11303"),
    ({"x-a": "\x00"}, "E11303"),
    ({"x-a": "ü"}, "E11303"),
    ({"x a": "1"}, "E11303"),
    ({"": "1"}, "E11303"),
    ({"x:a": "1"}, "E11303"),
    ({"x-a": None}, "E11303"),
    ({"x-a": ["1"]}, "E11303"),
    ({"x-a": True}, "E11303"),
    ({7: "1"}, "E11303"),
    ({"X-A": "1", "x-a": "2"}, "E11303"),
    ({f"x-{n}": "1" for n in range(65)}, "E11303"),
    ({"x-a": "a" * 9000}, "E11303"),
    ("x-a: 1", "E11303"),
    ({"Host": "evil"}, "E11383"),
    ({"Transfer-Encoding": "chunked"}, "E11383"),
    ({"Content-Length": "5"}, "E11383"),
    ({"Connection": "x-a"}, "E11383"),
    ({"X-Hub-Epoch": "99"}, "E11383"),
    ({"Upgrade": "websocket"}, "E11383"),
    ({"Proxy-Authorization": "x"}, "E11383"),
    ({"X-Request-Deadline": "9"}, "E11383"),
    ({"Idempotency-Key": "k"}, "E11383"),
]


@pytest.mark.parametrize(("headers", "code"), HOSTILE_HEADERS)
def test_a_hostile_header_is_refused(headers, code):
    with pytest.raises(IntegrationError) as caught:
        build(headers=headers)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"method": "CONNECT"}, "E11301"),
        ({"method": "post it"}, "E11301"),
        ({"method": "TRACE"}, "E11301"),
        ({"method": 7}, "E11902"),
        ({"method": None}, "E11901"),
        ({"path": 7}, "E11902"),
        ({"path": None}, "E11901"),
        ({"service_name": None}, "E11901"),
        ({"data": float("nan")}, "E11905"),
        ({"data": {"a": object()}}, "E11905"),
        ({"data": "x" * 2000}, "E11360"),
        ({"data": b"x" * 2000}, "E11360"),
        ({"data": {"$base64": "%%%"}}, "E11304"),
        ({"timeout": -1}, "E11305"),
        ({"timeout": 0}, "E11305"),
        ({"timeout": float("inf")}, "E11305"),
        ({"timeout": float("nan")}, "E11305"),
        ({"timeout": 10**9}, "E11305"),
        ({"timeout": 10**400}, "E11305"),
        ({"timeout": "5"}, "E11902"),
        ({"timeout": True}, "E11902"),
        ({"idempotency_key": ""}, "E11306"),
        ({"idempotency_key": "a b"}, "E11306"),
        ({"idempotency_key": "k\n"}, "E11306"),
        ({"idempotency_key": "k" * 129}, "E11306"),
        ({"idempotency_key": 7}, "E11306"),
        ({"params": "a=1"}, "E11307"),
        ({"params": {"a": {"b": 1}}}, "E11307"),
        ({"params": {"a": float("nan")}}, "E11307"),
        ({"params": {"a": "x" * 9000}}, "E11307"),
        ({"params": {"a": "\ud800"}}, "E11307"),
    ],
)
def test_a_bad_argument_gives_its_code(changes, code):
    with pytest.raises(IntegrationError) as caught:
        build(**changes)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "headers", "body", "content_type"),
    [
        ({"a": 1}, None, b'{"a":1}', "application/json"),
        ("text", None, b'"text"', "application/json"),
        ("text", {"Content-Type": "text/plain"}, b"text", "text/plain"),
        ({"a": 1}, {"Content-Type": "application/vnd.x+json"}, b'{"a":1}', "application/vnd.x+json"),
        (b"\x00\xff", None, b"\x00\xff", "application/octet-stream"),
        ({"$base64": base64.b64encode(b"\x00\xff").decode()}, {"content-type": "image/png"}, b"\x00\xff", "image/png"),
        (False, None, b"false", "application/json"),
        (None, None, None, None),
    ],
)
def test_bodies_of_every_kind(data, headers, body, content_type):
    found = build(data=data, headers=headers)

    assert (found.body, found.headers.get("content-type")) == (body, content_type)


def test_query_parameters_join_those_of_the_path():
    found = build(path="/a?x=1", params={"y": [1, 2], "z": None, "on": True, "q": "a b&c"})

    assert found.target == "/a?x=1&y=1&y=2&on=true&q=a+b%26c"
    assert found.path == "/a"


def test_the_fingerprint_tells_requests_apart():
    prints = {
        build(**c).fingerprint
        for c in (
            {},
            {"data": 1},
            {"path": "/other"},
            {"method": "PUT"},
            {"params": {"a": 1}},
            {"service_name": "x"},
            {"headers": {"Authorization": "Bearer alice"}},
            {"headers": {"Authorization": "Bearer bob"}},
            {"headers": {"Cookie": "session=bob"}},
        )
    }

    assert len(prints) == 9
    assert build(headers={"x-a": "1"}).fingerprint == build().fingerprint
