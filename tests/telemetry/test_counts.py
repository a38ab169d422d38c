"""The numbers agree though workers are killed: a small run of the command."""

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_client_tables_metrics_and_spans_agree_when_a_worker_is_killed():
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "DJANGO_")) and name != "REDIS_URL"}

    done = subprocess.run(
        [sys.executable, "-m", "tests.telemetry.counts", "--requests", "60", "--sagas", "12"],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=380,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed: worker" in done.stdout
    assert "all agree" in done.stdout
