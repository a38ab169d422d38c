from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

from hub.console import groups


def make_groups(apps, schema_editor):
    # Django makes permissions only after all migrations have run; the groups need them now.
    for label in (*groups.LABELS, *groups.ADMIN_TOO):
        create_permissions(installed.get_app_config(label), apps=installed, using=schema_editor.connection.alias, verbosity=0)
    groups.make(apps)


def remove_groups(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=groups.NAMES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("console", "0001_initial"),
        ("telemetry", "0001_initial"),
        ("events", "0001_initial"),
        ("circuits", "0001_initial"),
        ("registry", "0001_initial"),
        ("routing", "0001_initial"),
        ("sagas", "0001_initial"),
        ("api", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(make_groups, remove_groups)]
