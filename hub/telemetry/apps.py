from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    name = "hub.telemetry"
    label = "telemetry"
    verbose_name = "Observability"
