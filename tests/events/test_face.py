"""Live subscriptions, through the public face, with a real Redis."""

import asyncio
import threading
import time

import pytest

from hub.errors import IntegrationError
from hub.events import live
from hub.events.face import EventBus
from hub.events.messages import EventMessage
from hub.redis_client import client
from hub.telemetry import on_demand, store, tracing

pytestmark = pytest.mark.django_db(transaction=True)


def event(topic="agent.created", **payload):
    return EventMessage.create(topic=topic, event_type="created", payload=payload or {"agent_id": "agent-123"})


async def eventually(condition):
    give_up_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        await asyncio.sleep(0.005)


def run(scenario):
    async def with_bus():
        bus = EventBus()
        try:
            return await scenario(bus)
        finally:
            await bus.stop()

    return asyncio.run(with_bus())


def test_a_handler_gets_the_event_with_topic_payload_and_metadata():
    async def scenario(bus):
        got = []

        async def handle_event(message: EventMessage):
            got.append(message)

        await bus.subscribe(topic="agent.created", handler=handle_event)
        event_id = await bus.publish(event())
        await eventually(lambda: got)
        return event_id, got

    event_id, [message] = run(scenario)

    assert (message.topic, message.payload, message.metadata.event_id) == ("agent.created", {"agent_id": "agent-123"}, event_id)


def test_f5_overlapping_subscriptions_each_get_an_event_once():
    async def scenario(bus):
        got = []
        for pattern in ("agent.created", "agent.*", "agent.**", "**", "agent.created"):
            await bus.subscribe(pattern, lambda message, pattern=pattern: got.append(pattern))
        await bus.publish(event())
        await eventually(lambda: len(got) >= 5)
        await asyncio.sleep(0.1)
        return got

    assert sorted(run(scenario)) == sorted(["agent.created", "agent.*", "agent.**", "**", "agent.created"])


def test_f4_a_pattern_is_exact_where_redis_is_not():
    async def scenario(bus):
        got = []
        await bus.subscribe("agent.*", lambda message: got.append(message.topic))
        for topic in ("agentXcreated", "agent.created.twice", "agent", "agent.created"):
            await bus.publish(event(topic))
        await eventually(lambda: "agent.created" in got)
        return got

    assert run(scenario) == ["agent.created"]


def test_two_stars_also_match_the_words_before_them_alone():
    async def scenario(bus):
        got = []
        await bus.subscribe("agent.**", lambda message: got.append(message.topic))
        for topic in ("agent", "agent.a.b", "agents.a", "agent.last"):
            await bus.publish(event(topic))
        await eventually(lambda: "agent.last" in got)
        return got

    assert run(scenario) == ["agent", "agent.a.b", "agent.last"]


def test_after_unsubscribing_nothing_comes_and_others_still_hear():
    async def scenario(bus):
        first, second = [], []
        gone = await bus.subscribe("agent.*", first.append)
        await bus.subscribe("agent.*", second.append)
        assert await bus.unsubscribe(gone)
        assert not await bus.unsubscribe(gone)
        await bus.publish(event())
        await eventually(lambda: second)
        return first

    assert run(scenario) == []


def test_a_slow_handler_holds_up_nobody_and_its_overflow_is_counted(monkeypatch):
    monkeypatch.setattr(live, "QUEUE_LIMIT", 5)
    go_on = threading.Event()

    async def scenario(bus):
        fast = []
        await bus.subscribe("agent.*", lambda message: go_on.wait(10), name="slow")
        await bus.subscribe("agent.*", fast.append, name="fast")
        for _ in range(20):
            await bus.publish(event())
            await asyncio.sleep(0)
        await eventually(lambda: len(fast) + bus.subscriptions()[1]["dropped"] == 20)
        slow = bus.subscriptions()[0]
        go_on.set()
        return slow, len(fast)

    slow, fast_count = run(scenario)

    assert slow["dropped"] >= 13
    assert fast_count > 10


def test_a_failing_handler_keeps_its_subscription_and_touches_no_other():
    async def scenario(bus):
        got = []

        async def fails(message):
            raise ValueError("no")

        await bus.subscribe("agent.*", fails)
        await bus.subscribe("agent.*", got.append)
        for _ in range(3):
            await bus.publish(event())
        await eventually(lambda: len(got) == 3)
        await bus.idle()
        return bus.subscriptions()[0]

    assert run(scenario)["failed"] == 3


@pytest.fixture(autouse=True)
def _nothing_is_slow(monkeypatch):
    monkeypatch.setattr(on_demand, "SLOW_SEC", 3_600)


def spans_of(handlers):
    """Publish one event to live subscriptions (handlers by name), and return the spans of their work, by subscription."""

    async def scenario(bus):
        for name, handler in handlers.items():
            await bus.subscribe("agent.created", handler, name=name)
        with tracing.span("publisher"):
            await bus.publish(event())
            await eventually(lambda: all(one["received"] for one in bus.subscriptions()))
            await bus.idle()
            return tracing.trace_id()

    trace_id = run(scenario)
    tracing.flush()
    handled = [span for span in store.trace(trace_id) if span.span_name == "process agent.created"]
    return {span.attributes.get("hub.subscription", "all"): span for span in handled}


def test_a_trace_says_which_handler_failed():
    def fail(_):
        raise RuntimeError("no")

    spans = spans_of({"audit": lambda _: None, "cache": fail})

    assert {name: span.status for name, span in spans.items()} == {"all": "unset", "cache": "error"}
    assert spans["cache"].parent_span_id == spans["all"].span_id
    assert spans["all"].attributes["hub.subscriptions"] == ["audit", "cache"]
    assert spans["all"].attributes["hub.handlers"] == 2


def test_a_handler_alone_has_the_span_of_its_event():
    spans = spans_of({"audit": lambda _: None})

    assert list(spans) == ["audit"]


def test_what_a_handler_has_others_do_is_traced_under_its_own_span():
    heard = []

    async def ask(_):
        with tracing.span("asked"):
            heard.append(tracing.traceparent())

    spans = spans_of({"asks": ask, "idle": lambda _: None})

    assert spans.keys() == {"all", "asks"}
    [asked] = [span for span in store.trace(spans["all"].trace_id) if span.span_name == "asked"]
    assert (asked.parent_span_id, asked.span_id) == (spans["asks"].span_id, heard[0].split("-")[2])


def test_a_slow_handler_has_a_span_of_its_own(monkeypatch):
    monkeypatch.setattr(on_demand, "SLOW_SEC", 0)

    spans = spans_of({"audit": lambda _: None, "cache": lambda _: None})

    assert spans.keys() == {"all", "audit", "cache"}


def test_an_event_that_some_drop_and_some_never_handle_still_has_its_span(monkeypatch):
    monkeypatch.setattr(live, "QUEUE_LIMIT", 1)

    async def scenario(bus):
        never, got = asyncio.Event(), []

        async def stuck(_):
            await never.wait()

        stuck_id = await bus.subscribe("agent.created", stuck, name="stuck")
        await bus.subscribe("agent.created", got.append, name="fast")
        ids = []
        for number in range(3):  # one is being handled, one waits, one is dropped
            with tracing.span("publisher"):
                ids.append(tracing.trace_id())
                await bus.publish(event())
            await eventually(lambda number=number: len(got) > number)
        assert bus.subscriptions()[0]["dropped"] == 1
        await bus.unsubscribe(stuck_id)
        return ids

    ids = run(scenario)

    tracing.flush()
    shared = [span for trace_id in ids for span in store.trace(trace_id) if "hub.handlers" in span.attributes]
    assert [span.attributes["hub.subscriptions"] for span in shared] == [["fast", "stuck"], ["fast"], ["fast"]]


def test_after_a_lost_connection_the_subscriptions_come_back():
    async def scenario(bus):
        got = []
        await bus.subscribe("agent.created", got.append)
        await bus.subscribe("order.*", got.append)
        client().client_kill_filter(_type="pubsub")
        # Redis itself may count channels of the connection that is just given up.
        await eventually(lambda: bus._listener.reconnects == 1 and bus._listener.is_hearing())
        await bus.publish(event())
        await bus.publish(event("order.paid"))
        await eventually(lambda: len(got) == 2)
        return {message.topic for message in got}

    assert run(scenario) == {"agent.created", "order.paid"}


def test_two_handlers_that_answer_each_other_stop_at_the_hop_limit():
    async def scenario(bus):
        hops = []

        async def ping(message):
            hops.append(message.metadata.hops)
            await bus.publish(event("pong"))

        async def pong(message):
            hops.append(message.metadata.hops)
            await bus.publish(event("ping"))

        await bus.subscribe("ping", ping)
        await bus.subscribe("pong", pong)
        await bus.publish(event("ping"))
        await eventually(lambda: sum(one["failed"] for one in bus.subscriptions()) == 1)
        return hops

    assert run(scenario) == list(range(17))


@pytest.mark.parametrize(("topic", "handler", "code"), [("agent.(.+)+$", print, "E11105"), ("agent.*", "no function", "E11106")])
def test_a_wrong_subscription_is_refused(topic, handler, code):
    with pytest.raises(IntegrationError) as caught:
        run(lambda bus: bus.subscribe(topic, handler))

    assert caught.value.code == code


def test_layers_may_not_publish_on_the_hubs_topics():
    with pytest.raises(IntegrationError, match="E11182"):
        run(lambda bus: bus.publish(event("hub.circuit.opened")))
