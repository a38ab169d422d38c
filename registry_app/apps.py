from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry_app"
    label = "registry"
    verbose_name = "Services"
