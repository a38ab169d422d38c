"""A layer without the hub's package: a plain Celery app that reserves tools, gives them back, and takes events.

What it was given goes to the file of ``RECEIPTS``, so that a test sees what arrived.
"""

import json
import os

from celery import Celery

app = Celery("tree_layer", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.worker_send_task_events = True


@app.task(name="tree.reserve")
def reserve(context):
    return {"tools": context["_saga"]["idempotency_key"]}


@app.task(name="tree.release")
def release(context, output):
    return None


@app.task(name="tree.on_event")
def on_event(event):
    return None


@app.task(name="tree.keep")
def keep(context, output=None):
    receipt(context)
    return {"client_secret": context["said"]["layer_secret"]}


@app.task(name="tree.choke")
def choke(event):
    receipt(event)
    raise ValueError(f"cannot take it: api_key={event['data']['credential']}")


def receipt(given):
    with open(os.environ["RECEIPTS"], "a") as file:
        file.write(json.dumps(given) + "\n")
