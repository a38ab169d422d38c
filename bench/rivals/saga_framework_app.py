"""A saga of five steps with saga-framework, as its documents have it: the orchestrator and the service that does the steps.

The framework leaves storing a saga's status to its user: here one committed UPDATE for each status it tells. Both parts run in
one worker. The addresses of Redis and of Postgres come from the environment.
"""

import os
import threading

import psycopg
import redis
from celery import Celery
from saga_framework import AbstractSagaStateRepository, AsyncStep, StatefulSaga, saga_step_handler

REDIS, POSTGRES = os.environ["RIVAL_REDIS_URL"], os.environ["RIVAL_POSTGRES_URL"]
REPLIES, STEPS, ENDED = "bench-replies", "bench-steps", "bench-ended"
app = Celery("saga_framework_app", broker=REDIS)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
told = redis.Redis.from_url(REDIS)
_local = threading.local()


def database():
    """Return this process's connection."""
    if getattr(_local, "pid", None) != os.getpid():
        _local.pid, _local.connection = os.getpid(), psycopg.connect(POSTGRES, autocommit=True)
    return _local.connection


class Repository(AbstractSagaStateRepository):
    def get_saga_state_by_id(self, saga_id):
        return database().execute("SELECT status FROM bench_rival_saga WHERE id = %s", [saga_id]).fetchone()

    def update_status(self, saga_id, status):
        database().execute("UPDATE bench_rival_saga SET status = %s WHERE id = %s", [status, saga_id])

    def update(self, saga_id, **fields):
        raise NotImplementedError

    def on_step_failure(self, saga_id, failed_step, initial_failure_payload):
        self.update_status(saga_id, "failed")


class Five(StatefulSaga):
    def __init__(self, saga_state_repository, celery_app, saga_id):
        self.steps = [AsyncStep(name=f"s{n}", base_task_name=f"bench.s{n}", queue=STEPS, action=self.ask) for n in range(5)]
        super().__init__(saga_state_repository, celery_app, saga_id)

    def ask(self, step):
        self.send_message_to_other_service(step, {})

    def on_saga_success(self):
        super().on_saga_success()
        told.lpush(ENDED, self.saga_id)


Five.register_async_step_handlers(Repository(), app)


def nothing(task, saga_id, payload):
    return {}


for number in range(5):
    app.task(bind=True, name=f"bench.s{number}")(saga_step_handler(REPLIES)(nothing))
