from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "hub.console"
    label = "console"
    verbose_name = "Console"
