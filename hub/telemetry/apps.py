from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    """Traces, metrics and logs of the hub; ready means that Celery messages carry their context."""

    name = "hub.telemetry"
    label = "telemetry"
    verbose_name = "Observability"

    def ready(self) -> None:
        """Connect the signals that carry traces through Celery messages, and show the queues among the metrics."""
        from hub.telemetry import celery_headers, exposition, queues

        celery_headers.connect()
        exposition.add_source(queues.families)
        for place in ("database", "queue", "redaction"):
            exposition.expect("hub_spans_total", outcome="lost", place=place)
