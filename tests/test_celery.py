"""The hub's Celery app: to which Redis it goes."""

import subprocess
import sys

import pytest
from django.conf import settings

from tests.processes import ROOT, hub_environment

ELSEWHERE = "redis://127.0.0.1:1/9"
ASK = """
from hub import app
print(*(connect().as_uri() for connect in (app.connection, app.connection_for_read, app.connection_for_write)), app.backend.url)
"""


@pytest.mark.django_db
def test_what_the_environment_tells_other_programs_on_celery_leads_the_hub_nowhere_else():
    names = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")
    env = hub_environment(dict.fromkeys(names, ELSEWHERE))

    asked = subprocess.run([sys.executable, "-c", ASK], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert asked.stdout.split() == [settings.REDIS_URL] * 4, asked.stderr


@pytest.mark.django_db
def test_nor_does_what_the_command_celery_reads_there(worker):
    env = hub_environment({"BROKER_URL": ELSEWHERE, "RESULT_BACKEND": ELSEWHERE})

    asked = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "hub", "inspect", "ping"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert "pong" in asked.stdout, asked.stderr
