from django.db import migrations, models
from django.db.models import F, Min, OuterRef, Q, Subquery
from django.db.models.functions import Now


def stop_the_later_ones(apps, schema_editor):
    """Two that were begun at the same moment released twice as many a second: the first goes on."""
    running = apps.get_model("events", "ReplayRun").objects.filter(status="running")
    first = running.filter(fingerprint=OuterRef("fingerprint")).order_by().values("fingerprint").annotate(first=Min("id")).values("first")
    later = running.annotate(first=Subquery(first)).exclude(id=F("first"))
    ids = list(later.values_list("id", flat=True))
    running.filter(id__in=ids).update(status="stopped", stopped_because="another replay of the same cause ran", ended_at=Now())


class Migration(migrations.Migration):
    dependencies = [("events", "0005_dead_letter_search")]

    operations = [
        migrations.RunPython(stop_the_later_ones, migrations.RunPython.noop, elidable=True),
        migrations.AddConstraint(
            model_name="replayrun",
            constraint=models.UniqueConstraint(fields=["fingerprint"], condition=Q(status="running"), name="replay_run_one_at_a_time"),
        ),
    ]
