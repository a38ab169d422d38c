from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "hub.routing"
    label = "routing"
    verbose_name = "Requests"

    def ready(self) -> None:
        """Show this room's work where it is asked what an event led to, and among the metrics that no record is lost."""
        from hub.events import causation
        from hub.routing import effects
        from hub.telemetry import exposition

        causation.add_source("Requests", effects.of_traces)
        exposition.expect("hub_request_records_lost_total")
