from django.apps import AppConfig


class SagasConfig(AppConfig):
    name = "sagas"
    label = "sagas"
    verbose_name = "Sagas"
