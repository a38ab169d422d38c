"""Rows of the bus: who wants what, what happened, what was delivered to whom, and what could not be."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from hub.telemetry.fields import SealedJSONField


class OutboxEvent(models.Model):
    """An event published inside a transaction, until it is in the stream; gone afterwards."""

    event_id = models.CharField(max_length=128)
    body = models.TextField(help_text="CloudEvents JSON")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["event_id"], name="outbox_event_once")]

    def __str__(self) -> str:
        return self.event_id


class Subscription(models.Model):
    """A durable subscriber: gets every event that matches, also those from while it was away."""

    class Kind(models.TextChoices):
        TASK = "task", "Celery task"
        HTTP = "http", "HTTP service"
        HANDLER = "handler", "handler in a process"

    class Ordering(models.TextChoices):
        NONE = "", "any order"
        TOPIC = "topic", "in order per topic"
        SOURCE = "source", "in order per source"
        CORRELATION = "correlation", "in order per correlation id"
        KEY = "key", "in order per key in the payload"

    name = models.CharField(max_length=128)
    pattern = models.CharField(max_length=255, help_text="agent.created, agent.* (one word) or agent.** (any number)")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    task = models.CharField(max_length=255, blank=True, help_text="task: its name; it gets the keyword argument `event`")
    queue = models.CharField(max_length=255, blank=True, help_text="task: the queue its workers read")
    service_name = models.CharField(max_length=64, blank=True, help_text="HTTP: the registered service")
    method = models.CharField(max_length=8, blank=True, default="POST", help_text="HTTP: the method")
    path = models.CharField(max_length=1024, blank=True, help_text="HTTP: the path, such as /events/agent")
    handler = models.CharField(max_length=128, blank=True, help_text="handler: the name it is registered under")
    ordering = models.CharField(max_length=16, choices=Ordering.choices, blank=True, default=Ordering.NONE)
    ordering_key = models.CharField(max_length=64, blank=True, help_text="the payload's field whose values are kept in order")
    max_attempts = models.PositiveIntegerField(default=5)
    retry_delay_sec = models.FloatField(default=1)
    retry_backoff = models.FloatField(default=2)
    retry_max_delay_sec = models.FloatField(default=300)
    timeout_sec = models.FloatField(default=60, help_text="without an answer for this long, the event is sent again")
    max_in_flight = models.PositiveIntegerField(default=100, help_text="sent and not yet answered, at most")
    max_age_sec = models.FloatField(default=7 * 86_400, help_text="an event that fails when it is older than this becomes a dead letter")
    paused = models.BooleanField(default=False)
    held_until = models.DateTimeField(null=True, blank=True, help_text="nothing is sent before: its breaker is open")
    held_reason = models.CharField(max_length=255, blank=True)
    start_position = models.CharField(max_length=41, blank=True, help_text="events up to here were published before it existed")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name"], name="subscription_name_once"),
            models.CheckConstraint(condition=Q(kind__in=["task", "http", "handler"]), name="subscription_kind_known"),
            models.CheckConstraint(condition=Q(max_attempts__gte=1) & Q(max_in_flight__gte=1), name="subscription_limits_positive"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def target(self) -> str:
        """Return where its events go, in words."""
        if self.kind == self.Kind.TASK:
            return f"{self.task} @ {self.queue}"
        if self.kind == self.Kind.HTTP:
            return f"{self.method} {self.path} of {self.service_name}"
        return f"handler {self.handler}"


class TopicRoute(Subscription):
    """A subscription of a layer's endpoint, as the admin shows it: from a topic pattern to a path."""

    class Meta:
        proxy = True


class Event(models.Model):
    """An event that somebody durable wants, once."""

    event_id = models.CharField(max_length=128)
    topic = models.CharField(max_length=255)
    event_type = models.CharField(max_length=128)
    source = models.CharField(max_length=128)
    trace_id = models.CharField(max_length=128, blank=True)
    correlation_id = models.CharField(max_length=128, blank=True)
    causation_id = models.CharField(max_length=128, blank=True)
    hops = models.PositiveIntegerField(default=0)
    position = models.CharField(max_length=41, blank=True, help_text="place in the stream, sortable as text")
    body = SealedJSONField(help_text="CloudEvents attributes and data")
    time = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["event_id"], name="event_once")]
        indexes: ClassVar = [
            models.Index(fields=["topic", "-id"], name="event_topic"),  # newest of a topic
            models.Index(fields=["created_at"], name="event_created"),  # pruning
            models.Index(fields=["correlation_id"], name="event_correlation", condition=~Q(correlation_id="")),  # search
            models.Index(fields=["causation_id"], name="event_causation", condition=~Q(causation_id="")),  # what it led to
            models.Index(fields=["trace_id"], name="event_trace", condition=~Q(trace_id="")),  # the events of a trace
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.event_id}"


class Delivery(models.Model):
    """One event for one subscription, until it is delivered, dead or discarded."""

    class Status(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        DELIVERED = "delivered"
        DEAD = "dead"
        DISCARDED = "discarded"

    subscription = models.ForeignKey(Subscription, models.CASCADE, db_index=False)
    event = models.ForeignKey(Event, models.CASCADE)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    repetition = models.PositiveIntegerField(default=0, db_default=0, help_text="how often it was asked for again after it was delivered")
    due_at = models.DateTimeField(help_text="pending: not to be sent before; sending: to be sent again after")
    claim = models.CharField(max_length=32, blank=True, help_text="who is sending it")
    key = models.CharField(max_length=128, blank=True, help_text="events of one key go out in order")
    position = models.CharField(max_length=41, blank=True)
    error_code = models.CharField(max_length=6, blank=True)
    error = models.TextField(blank=True)
    history = models.JSONField(default=list, help_text="each failed attempt: number, at, code, error")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints: ClassVar = [
            # An event reaches a subscription through one row, however often the stream is read.
            models.UniqueConstraint(fields=["subscription", "event"], name="delivery_once"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "sending", "delivered", "dead", "discarded"]), name="delivery_status_known"
            ),
        ]
        # SQLite uses a partial index only when the query repeats its condition, and cannot see through a list of states.
        indexes: ClassVar = [
            models.Index(  # what a subscription has to send, and what it has under way
                fields=["subscription", "status", "due_at"], name="delivery_due", condition=Q(finished_at__isnull=True)
            ),
            models.Index(fields=["due_at"], name="delivery_expired", condition=Q(status="sending")),  # sent and never answered
            models.Index(  # what of the same key must go out before
                fields=["subscription", "key", "position"], name="delivery_open", condition=Q(finished_at__isnull=True)
            ),
            models.Index(fields=["claim"], name="delivery_claim", condition=Q(status="sending")),  # what a relay just claimed
            models.Index(fields=["finished_at"], name="delivery_finished", condition=Q(finished_at__isnull=False)),  # pruning
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk} ({self.status})"


class DeadLetter(models.Model):
    """A delivery that was given up, waiting for a person."""

    class Status(models.TextChoices):
        OPEN = "open"
        REPLAYED = "replayed", "replayed, not yet delivered"
        RESOLVED = "resolved", "delivered after all"
        DISCARDED = "discarded"

    delivery = models.OneToOneField(Delivery, models.CASCADE, related_name="dead_letter")
    subscription = models.ForeignKey(Subscription, models.CASCADE, db_index=False)
    event = models.ForeignKey(Event, models.CASCADE)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.OPEN)
    fingerprint = models.CharField(max_length=16, help_text="the same for failures of the same cause")
    error_code = models.CharField(max_length=6)
    error = models.TextField(blank=True)
    hint = models.CharField(max_length=255, blank=True)
    deaths = models.PositiveIntegerField(default=1, help_text="how often it was given up")
    run = models.ForeignKey("ReplayRun", models.SET_NULL, null=True, blank=True, related_name="letters")
    edited_event = models.ForeignKey(Event, models.SET_NULL, null=True, blank=True, related_name="+")
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=["open", "replayed", "resolved", "discarded"]), name="dead_letter_status_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["fingerprint", "id"], name="dead_letter_group", condition=Q(status="open")),  # groups, and replay in order
            models.Index(fields=["fingerprint"], name="dead_letter_fingerprint"),  # search, of every status
            models.Index(fields=["status", "-last_at"], name="dead_letter_newest"),  # the inspector
            models.Index(fields=["subscription", "status", "-last_at"], name="dead_letter_subscriber"),  # those of one subscription
            models.Index(fields=["-last_at"], name="dead_letter_last"),  # the inspector, of every status
            models.Index(fields=["decided_at"], name="dead_letter_decided", condition=Q(decided_at__isnull=False)),  # pruning
        ]

    def __str__(self) -> str:
        return f"dead letter {self.pk}"


class ReplayRun(models.Model):
    """The replay of a group of dead letters at a rate, stopped by the first that fails again."""

    class Status(models.TextChoices):
        RUNNING = "running"
        STOPPED = "stopped"
        DONE = "done"

    fingerprint = models.CharField(max_length=16)
    rate_per_sec = models.FloatField()
    limit = models.PositiveIntegerField(help_text="letters to replay at most; a dry run has 1")
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.RUNNING)
    released = models.PositiveIntegerField(default=0)
    requested_by = models.CharField(max_length=150)
    stopped_because = models.CharField(max_length=500, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(status__in=["running", "stopped", "done"]), name="replay_run_status_known"),
            models.CheckConstraint(condition=Q(rate_per_sec__gt=0), name="replay_run_rate_positive"),
            models.UniqueConstraint(fields=["fingerprint"], condition=Q(status="running"), name="replay_run_one_at_a_time"),
        ]
        indexes: ClassVar = [models.Index(fields=["id"], name="replay_run_running", condition=Q(status="running"))]  # the relay

    def __str__(self) -> str:
        return f"replay of {self.fingerprint}"


class Topic(models.Model):
    """What was published on a topic, and how much of it nobody durable wanted."""

    name = models.CharField(max_length=255)
    events = models.PositiveBigIntegerField(default=0)
    unwanted = models.PositiveBigIntegerField(default=0, help_text="events that no durable subscription matched")
    last_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["name"], name="topic_once")]
        indexes: ClassVar = [models.Index(fields=["last_at"], name="topic_last")]  # pruning

    def __str__(self) -> str:
        return self.name
