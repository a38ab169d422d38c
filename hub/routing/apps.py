from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "hub.routing"
    label = "routing"
    verbose_name = "Requests"
