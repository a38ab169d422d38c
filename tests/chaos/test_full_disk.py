"""A database whose disk is full answers every question: who asks what is wrong must hear of it all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from hub.testing import databases
from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")]


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for a database and little else."""
    disk = Path(tempfile.mkdtemp(prefix="hub-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m,mode=777", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)
    disk.rmdir()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, small_disk, monkeypatch):
    if not databases.is_installed(request.param):
        pytest.skip("no Postgres server is installed")
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))  # where a Postgres of the rig lies
    with databases.started(request.param, small_disk) as running:
        monkeypatch.undo()
        yield running


def manage(database, *arguments):
    env = os.environ | {"HUB_NO_BOOTSTRAP": "1", "DATABASE_URL": database.url}
    return subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


def test_doctor_says_that_the_disk_of_the_database_is_full(database, small_disk):
    assert manage(database, "migrate", "--verbosity", "0").returncode == 0
    assert "ok     database: " in manage(database, "doctor").stdout

    with suppress(OSError), (small_disk / "rubbish").open("wb", buffering=0) as rubbish:
        while rubbish.write(bytes(4096)):
            pass
    while_full = manage(database, "doctor").stdout
    (small_disk / "rubbish").unlink()

    assert "WRONG  database: E11942: the disk of the database is full" in while_full
    assert "to do: make room on its disk" in while_full
    assert "ok     database: " in manage(database, "doctor").stdout
