"""A layer's own Celery app, without the hub: it knows `tools.reserve` and `tools.release` under their old names."""

import os

from celery import Celery

app = Celery("layer_old", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])


@app.task(name="tools.reserve")
def reserve(context):
    return {"tools": context["_saga"]["idempotency_key"]}


@app.task(name="tools.release")
def release(context, output):
    return None
