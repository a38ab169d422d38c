"""A layer that is a Celery worker and has nothing of the hub."""

import os
import time

from celery import Celery

app = Celery("layer", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])


class Refused(Exception):
    pass


@app.task(name="l03.reserve", bind=True)
def reserve(self, order, text="", **more):
    return {"order": order, "text": text, "more": more, "headers": self.request.headers}


@app.task(name="l03.count")
def count(key):
    return app.backend.client.incr(key)


@app.task(name="l03.fail")
def fail():
    raise ValueError("no stock")


@app.task(name="l03.refuse")
def refuse():
    raise Refused("not today")


@app.task(name="l03.slow")
def slow(seconds):
    time.sleep(seconds)
