"""A layer as it would be without the hub's package: a plain Celery app that keeps a receipt of each event it handled."""

import os

from celery import Celery

app = Celery("layer", broker=os.environ["BROKER_URL"])
app.conf.update(task_default_queue="l03", worker_prefetch_multiplier=1, task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task(name="l03.on_event")
def on_event(event):
    receipt("good", event["id"])


@app.task(name="l03.picky")
def picky(event):
    receipt("picky", event["id"])
    if event["data"].get("n", 1) % 20 == 0:
        raise ValueError(f"cannot take number {event['data']['n']}")


def receipt(who, event_id):
    """Append one line in one write, so that the lines of two processes never mix."""
    descriptor = os.open(os.environ["RECEIPTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{who} {event_id}\n".encode())
    os.close(descriptor)
