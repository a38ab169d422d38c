from django.apps import AppConfig


class SagasConfig(AppConfig):
    name = "sagas"
    label = "sagas"
    verbose_name = "Sagas"

    def ready(self) -> None:
        """Show this room's work where it is asked what an event led to, and keep the traces of runs that go on."""
        from hub.events import causation
        from hub.telemetry import retention
        from sagas import effects

        causation.add_source("Sagas", effects.of_traces)
        retention.add_unfinished(effects.unfinished)
