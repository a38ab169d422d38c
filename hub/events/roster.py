"""Who is subscribed durably: a copy in this process, compared with the table before every use."""

from __future__ import annotations

from dataclasses import dataclass

from hub.events.messages import EventMessage
from hub.events.models import Subscription
from hub.events.topics import Matcher


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscriber:
    """What the relay needs to know of a subscription to write its deliveries."""

    id: int
    name: str
    pattern: str
    ordering: str
    ordering_key: str
    start_position: str

    def wants(self, position: str) -> bool:
        """Tell whether an event at `position` was published after the subscription was made."""
        return position > self.start_position

    def key_of(self, event: EventMessage) -> str:
        """Return the key within which events are kept in order; empty when the order does not matter."""
        if self.ordering == Subscription.Ordering.KEY:
            return str(event.payload.get(self.ordering_key, ""))[:128]
        values = {"topic": event.topic, "source": event.metadata.source_service, "correlation": event.metadata.correlation_id}
        return values.get(self.ordering, "")[:128]


class Roster:
    """Finds the subscribers of a topic."""

    def __init__(self) -> None:
        self._version: tuple[object, ...] | None = None
        self._subscribers: dict[int, Subscriber] = {}
        self._matcher: Matcher[int] = Matcher()

    def refresh(self) -> None:
        """Load the table again if it changed: a subscription counts from the moment its maker's call returned."""
        # All of them: the newest change need not have the latest time, for its writer has a clock of its own.
        version = tuple(Subscription.objects.order_by("pk").values_list("pk", "updated_at"))
        if version == self._version:
            return
        self._subscribers = {row.pk: subscriber_of(row) for row in Subscription.objects.all()}
        self._matcher = Matcher()
        for subscriber in self._subscribers.values():
            self._matcher.add(subscriber.pattern, subscriber.id)
        self._version = version

    def of_topic(self, topic: str) -> list[Subscriber]:
        """Return the subscribers whose pattern matches `topic`."""
        return [self._subscribers[one] for one in self._matcher.match(topic)]

    def __len__(self) -> int:
        return len(self._subscribers)


def subscriber_of(row: Subscription) -> Subscriber:
    """Return what the relay needs of a row."""
    return Subscriber(
        id=row.pk,
        name=row.name,
        pattern=row.pattern,
        ordering=row.ordering,
        ordering_key=row.ordering_key,
        start_position=row.start_position,
    )
