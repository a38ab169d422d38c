from django.apps import AppConfig


class ParticipantConfig(AppConfig):
    """Stands alone: a layer installs this app without the rest of the hub."""

    name = "sagas.participant"
    label = "saga_participant"
    default_auto_field = "django.db.models.BigAutoField"
