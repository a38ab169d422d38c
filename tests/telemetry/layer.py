"""A layer without the hub's package: a plain Celery app that reserves tools, gives them back, and takes events."""

import os

from celery import Celery

app = Celery("tree_layer", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])


@app.task(name="tree.reserve")
def reserve(context):
    return {"tools": context["_saga"]["idempotency_key"]}


@app.task(name="tree.release")
def release(context, output):
    return None


@app.task(name="tree.on_event")
def on_event(event):
    return None
