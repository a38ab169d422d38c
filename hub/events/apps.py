from django.apps import AppConfig


class EventsConfig(AppConfig):
    """The event bus; ready means that the handlers of all apps are known."""

    name = "hub.events"
    label = "events"
    verbose_name = "Event bus"

    def ready(self) -> None:
        """Import what apps handle events with."""
        from hub.events import handlers

        handlers.load()
