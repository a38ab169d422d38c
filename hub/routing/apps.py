from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "hub.routing"
    label = "routing"
    verbose_name = "Requests"

    def ready(self) -> None:
        """Show this room's work where it is asked what an event led to."""
        from hub.events import causation
        from hub.routing import effects

        causation.add_source("Requests", effects.of_traces)
