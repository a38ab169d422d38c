"""Who may do what: a viewer reads, an operator acts on what runs, an admin also changes how it runs."""

from __future__ import annotations

from typing import Any

LABELS = ("telemetry", "events", "circuits", "registry", "routing", "sagas", "api", "console")
NAMES = VIEWER, OPERATOR, ADMIN = "hub viewer", "hub operator", "hub admin"

_OPERATES = (
    ("console", "retry_saga"),
    ("console", "retry_saga_undo"),
    ("console", "skip_saga_step"),
    ("console", "compensate_saga"),
    ("console", "cancel_saga"),
    ("console", "resolve_saga"),
    ("console", "rerun_saga"),
    ("events", "decide_deadletter"),
    ("registry", "change_service"),
    ("circuits", "add_circuitsetting"),
    ("circuits", "change_circuitsetting"),
)
ADMIN_TOO = ("auth", "django_celery_beat")


def make(apps: Any) -> None:
    """Give the three groups their permissions; what a site added to them stays. `apps` may be a migration's."""
    group, permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    ours = permission.objects.filter(content_type__app_label__in=LABELS)
    views = list(ours.filter(codename__startswith="view_"))
    acts = [one for one in ours.select_related("content_type") if (one.content_type.app_label, one.codename) in _OPERATES]
    everything = list(permission.objects.filter(content_type__app_label__in=(*LABELS, *ADMIN_TOO)))
    for name, given in ((VIEWER, views), (OPERATOR, [*views, *acts]), (ADMIN, everything)):
        group.objects.get_or_create(name=name)[0].permissions.add(*given)
