from django.apps import AppConfig

from hub.console import workers


class ConsoleConfig(AppConfig):
    """The screens of the hub, and the commands that run it."""

    name = "hub.console"
    label = "console"
    verbose_name = "Console"

    def ready(self) -> None:
        from hub.console.overview import gauges
        from hub.telemetry import exposition

        workers.watch()
        exposition.add_source(gauges.families)
