"""A layer's own Celery app, as its authors would write it: one task, and one line that registers its workers at the hub."""

import os

from celery import Celery

from registry_app.bootstep import registered_at_hub

app = Celery("l05", broker=os.environ["BROKER_URL"])
app.conf.update(worker_hijack_root_logger=False, worker_send_task_events=False)
app.steps["worker"].add(registered_at_hub("L05_planning", "0.2.0", owner="team-l05", beat_sec=1))


@app.task(name="l05.plan")
def plan(goal):
    """Do what a planning layer does."""
    return goal
