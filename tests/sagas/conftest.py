"""The sweeper as a process of its own, as in production."""

from __future__ import annotations

import sys

import pytest
from django.conf import settings

from tests.processes import SESSION, LoggedProcess, hub_environment, wait_until

SWEEP = "import time; from hub.setup import ensure_django; ensure_django(); from sagas import recovery"
SWEEP += "\nwhile True: recovery.sweep(); recovery.resume_parked(); time.sleep(0.3)"


@pytest.fixture(scope="session")
def _session_sweeper(django_db_setup):
    log = settings.HUB.var_dir / "log" / "sweeper.log"
    process = LoggedProcess("sweeper", [sys.executable, "-c", SWEEP], env=hub_environment(), log_path=log)
    SESSION.append(process)
    yield process
    process.kill()


@pytest.fixture
def sweeper(_session_sweeper):
    if not _session_sweeper.is_alive():
        _session_sweeper.start()
    return _session_sweeper


@pytest.fixture
def relay(django_db_setup, db):
    """`manage.py relay` as in production: the sweeper and the event relay in one process."""
    log = settings.HUB.var_dir / "log" / "relay.log"
    process = LoggedProcess("relay", [sys.executable, "manage.py", "relay"], env=hub_environment(), log_path=log)
    wait_until(lambda: "relay runs: " in process.log(), timeout_sec=30, what="the relay to run")
    yield process
    process.kill()
