from django.apps import AppConfig


class CircuitsConfig(AppConfig):
    name = "hub.circuits"
    label = "circuits"
    verbose_name = "Circuit breakers"
