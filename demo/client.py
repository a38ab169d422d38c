"""Use the hub with nothing but Celery and the broker's address:  .venv/bin/python demo/client.py redis://127.0.0.1:6379/0"""
# ruff: noqa: T201

import sys
import time

from celery import Celery

hub = Celery(broker=sys.argv[1], backend=sys.argv[1])


def ask(task, **kwargs):
    return hub.send_task(task, kwargs=kwargs, queue="hub").get(timeout=30)


answer = ask("hub.requests.route", service_name="L02_runtime", method="POST", path="/execute", data={"task": "example"})
print(answer["status_code"], answer["body"])
run = ask("hub.sagas.start", saga_name="deploy_application", context={"app": f"client-{time.time_ns()}", "version": "1.0.0"})
while run["status"] in ("pending", "running", "waiting", "compensating"):
    time.sleep(0.2)
    run = ask("hub.sagas.status", execution_id=run["execution_id"])
print(run["status"], run["context"])
