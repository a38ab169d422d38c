from django.apps import AppConfig


class HubConfig(AppConfig):
    """The project itself: the Celery app is bound and the checks are loaded when Django is ready."""

    name = "hub"
    label = "hub"

    def ready(self) -> None:
        import hub.celery  # shared tasks bind to this app, not to Celery's default one without a broker
        import hub.checks  # noqa: F401
