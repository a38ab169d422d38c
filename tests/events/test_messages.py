import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from hub.errors import IntegrationError
from hub.events import messages
from hub.events.messages import EventMessage

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def created(**changes):
    values = {"topic": "agent.created", "event_type": "created", "payload": {"agent_id": "agent-123"}, **changes}
    return EventMessage.create(**values)


def test_an_event_has_an_id_a_time_and_its_source():
    event = created(source_service="L02_runtime", tags=["urgent"], correlation_id="order-7")

    assert event.metadata.event_id
    assert event.metadata.timestamp.tzinfo is not None
    assert event.metadata.source_service == "L02_runtime"
    assert event.metadata.tags == ("urgent",)
    assert created().metadata.event_id != event.metadata.event_id


def test_the_wire_form_has_the_attributes_of_cloudevents_and_comes_back_the_same():
    event = created(source_service="L02_runtime", tags=["a", "b"], correlation_id="c", timestamp=datetime(2026, 1, 1, tzinfo=UTC))

    wire = json.loads(messages.encode(event, max_bytes=10_000))

    assert wire["specversion"] == "1.0"
    assert {"id", "source", "type"} <= set(wire)
    assert all(name.isalnum() and name.islower() for name in wire)
    assert all(isinstance(value, str | int) for name, value in wire.items() if name != "data")
    assert wire["time"] == "2026-01-01T00:00:00+00:00"
    assert messages.decode(json.dumps(wire)) == event


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"topic": "agent created\n"}, "E11101"),
        ({"topic": "agent.*"}, "E11101"),
        ({"event_type": ""}, "E11102"),
        ({"event_type": "a b"}, "E11102"),
        ({"event_type": None}, "E11102"),
        ({"payload": [1]}, "E11103"),
        ({"payload": None}, "E11103"),
        ({"payload": "text"}, "E11103"),
        ({"event_id": "a b"}, "E11104"),
        ({"event_id": "x" * 129}, "E11104"),
        ({"correlation_id": "a\nb"}, "E11107"),
        ({"trace_id": "ä"}, "E11107"),
        ({"tags": "text"}, "E11008"),
        ({"tags": ["a,b"]}, "E11008"),
        ({"tags": ["x"] * 33}, "E11008"),
        ({"timestamp": datetime(2026, 1, 1)}, "E11909"),  # noqa: DTZ001
        ({"timestamp": datetime.min.replace(tzinfo=timezone(timedelta(hours=2)))}, "E11909"),
        ({"timestamp": "2026-01-01T00:00:00Z"}, "E11909"),
        ({"priority": "now"}, "E11902"),
        ({"source_service": "a b"}, "E11902"),
    ],
)
def test_a_wrong_event_is_refused_with_its_code(changes, code):
    with pytest.raises(IntegrationError) as caught:
        created(**changes)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"a": float("nan")}, "E11905"),
        ({"a": {1: 2}}, "E11905"),
        ({"a": 2**64}, "E11905"),
        ({"a": "x" * 2_000_000}, "E11160"),
    ],
)
def test_a_payload_that_cannot_travel_is_refused(payload, code):
    with pytest.raises(IntegrationError) as caught:
        messages.encode(created(payload=payload), max_bytes=262_144)

    assert caught.value.code == code


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"id": "1"}', '{"id": "1", "type": "t", "topic": "a b"}'])
def test_what_is_no_event_is_not_decoded(text):
    with pytest.raises(IntegrationError):
        messages.decode(text)


def test_an_event_published_while_another_is_handled_names_it_as_its_cause():
    cause = created(correlation_id="order-7")

    event = messages.caused_by(created(), cause)

    assert event.metadata.causation_id == cause.metadata.event_id
    assert event.metadata.correlation_id == "order-7"
    assert event.metadata.hops == 1


def test_a_chain_of_causes_ends_at_the_hop_limit():
    event = created()
    for _ in range(16):
        event = messages.caused_by(created(), event)

    with pytest.raises(IntegrationError) as caught:
        messages.caused_by(created(), event)

    assert caught.value.code == "E11183"


def test_publishing_the_handled_event_itself_makes_a_copy_one_hop_further():
    cause = created()

    copy = messages.caused_by(cause, cause)

    assert copy.metadata.event_id != cause.metadata.event_id
    assert (copy.metadata.causation_id, copy.metadata.hops) == (cause.metadata.event_id, 1)


def test_an_event_joins_the_current_trace_unless_it_names_its_own():
    assert messages.traced(created(), PARENT).metadata.traceparent == PARENT
    assert messages.traced(created(), None).metadata.traceparent == ""
    other = "0af7651916cd43dd8448eb211c80319c"
    assert messages.traced(created(trace_id=other), PARENT).metadata.trace_id == other
