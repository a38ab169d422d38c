"""Who may do what: a viewer reads, an operator acts on what runs, an admin also changes how it runs."""

from __future__ import annotations

from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions

LABELS = ("telemetry", "events", "circuits", "registry", "routing", "sagas", "api", "console")
NAMES = VIEWER, OPERATOR, ADMIN = "hub viewer", "hub operator", "hub admin"

MODEL_VERBS = ("add_", "change_", "delete_", "view_")
ADMIN_ONLY = ("purge_queue",)
ADMIN_TOO = ("auth", "django_celery_beat")


def make(apps: Any) -> None:
    """Give the three groups their permissions; what a site added to them stays. `apps` may be a migration's."""
    group, permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    ours = permission.objects.filter(content_type__app_label__in=LABELS)
    views = list(ours.filter(codename__startswith="view_"))
    acts = [one for one in ours.filter(content_type__app_label="console") if _is_for_operators(one.codename)]
    everything = list(permission.objects.filter(content_type__app_label__in=(*LABELS, *ADMIN_TOO)))
    for name, given in ((VIEWER, views), (OPERATOR, [*views, *acts]), (ADMIN, everything)):
        group.objects.get_or_create(name=name)[0].permissions.add(*given)


def make_in_migration(apps: Any, schema_editor: Any) -> None:
    """Give the groups permissions that a migration adds: Django itself makes those only after all migrations."""
    create_permissions(installed.get_app_config("console"), apps=installed, using=schema_editor.connection.alias, verbosity=0)
    make(apps)


def _is_for_operators(codename: str) -> bool:
    return not codename.startswith(MODEL_VERBS) and codename not in ADMIN_ONLY
