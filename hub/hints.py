"""Messages that only hint at a row stay in their worker's memory until they begin, instead of being noted in Redis.

The transport writes down each message it fetches and strikes it out when the task begins, so that another worker gets it an
hour after this one was killed. For what a user sent that is the only copy. But a link of a saga, a delivery of an event or a
tick of beat hints at a row, and a sweeper sends it again within seconds: there the note is two round trips for nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu import Connection
from kombu.transport import redis, virtual
from redis import DataError

log = logging.getLogger(__name__)

HINTS = frozenset({"hub.sagas", "hub.events", "hub.control"})
"""The queues of the hub's own tasks, each of which finds what it has to do in a row."""


class QoS(redis.QoS):  # type: ignore[misc]  # kombu has no types
    """Kombu's own, but for hints; they too go back into their queue when a worker is asked to end."""

    def append(self, message: Any, delivery_tag: str) -> None:
        (virtual.QoS if _is_hint(message) else redis.QoS).append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        (virtual.QoS if self._hint(delivery_tag) else redis.QoS).ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        hint = self._hint(delivery_tag)
        if not hint:
            super().reject(delivery_tag, requeue=requeue)
            return
        if requeue:
            self._give_back(hint, leftmost=True)
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Put back what was fetched and not begun; a message that was noted is put back from its note."""
        for tag in [tag for tag, message in self._delivered.items() if _is_hint(message)]:
            self._give_back(self._delivered.pop(tag))
        super().restore_unacked(client)

    def _hint(self, delivery_tag: str) -> Any:
        message = self._delivered.get(delivery_tag)
        return message if message is not None and _is_hint(message) else None

    def _give_back(self, message: Any, *, leftmost: bool = False) -> None:
        where = message.delivery_info
        with self.channel.conn_or_acquire() as client:
            self.channel._do_restore_message(message._raw, where["exchange"], where["routing_key"], client, leftmost)


def _is_hint(message: Any) -> bool:
    return message.delivery_info["routing_key"] in HINTS


class Channel(redis.Channel):  # type: ignore[misc]
    """Kombu's own with that account of what is unacknowledged."""

    QoS = QoS

    def _brpop_read(self, **options: Any) -> Any:
        """Fetch a message; what is in a queue and no JSON is dropped: it would end the worker (see `hub.unreadable`)."""
        try:
            return super()._brpop_read(**options)
        except (ValueError, RecursionError):
            log.exception("what was in a queue is no message and was dropped")
            return True


class Transport(redis.Transport):  # type: ignore[misc]
    """Kombu's own with that channel."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        """Hand a message on; one without what every message has is dropped."""
        try:
            super()._deliver(message, queue)
        except (TypeError, ValueError, LookupError, AttributeError, DataError):
            log.exception("what was in a queue is no message and was dropped", extra={"queue": queue})


class HintingConnection(Connection):  # type: ignore[misc]
    """A connection to Redis uses that transport; its URL stays as it is."""

    def get_transport_cls(self) -> Any:
        found = super().get_transport_cls()
        return Transport if found is redis.Transport else found
