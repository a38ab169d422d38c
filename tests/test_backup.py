"""The commands that docs/operations.md gives for a backup are run as they stand there, and what they made is put back."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()
SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def run(command, directory, **env):
    done = subprocess.run(["bash", "-c", command], cwd=directory, env=os.environ | env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def documented(beginning):
    return re.search(rf"^ +({re.escape(beginning)}.*)$", TEXT, re.MULTILINE)[1]


def test_a_copy_of_sqlite_has_what_its_log_still_holds(tmp_path):
    file = tmp_path / "var" / "hub.sqlite3"
    file.parent.mkdir()
    hub = sqlite3.connect(file, isolation_level=None)
    hub.execute("PRAGMA journal_mode=WAL")
    hub.execute("CREATE TABLE saga (name)")
    hub.execute("INSERT INTO saga VALUES ('before')")

    run(documented(".venv/bin/python -c").replace(".venv/bin/python", sys.executable), tmp_path)
    hub.execute("INSERT INTO saga VALUES ('after')")
    hub.close()
    run(re.search(r"`(rm -f var/hub.*?)`", TEXT)[1], tmp_path)

    assert sqlite3.connect(file).execute("SELECT name FROM saga").fetchall() == [("before",)]


@pytest.mark.database
@pytest.mark.skipif(not os.environ.get("DATABASE_URL", "").startswith("postgres") or not SERVERS, reason="no Postgres")
def test_a_dump_of_postgres_comes_back_into_the_database_as_it_is(tmp_path):
    url = os.environ["DATABASE_URL"]
    env = {"PATH": f"{SERVERS[-1]}{os.pathsep}{os.environ['PATH']}", "DATABASE_URL": f"{url.rpartition('/')[0]}/hub_backup"}
    run('createdb --maintenance-db="$URL" hub_backup', tmp_path, URL=url, **env)
    try:
        run('psql --quiet "$DATABASE_URL" --command "CREATE TABLE saga (name text); INSERT INTO saga VALUES (\'before\')"', tmp_path, **env)

        run(documented("pg_dump"), tmp_path, **env)
        run('psql --quiet "$DATABASE_URL" --command "INSERT INTO saga VALUES (\'after\')"', tmp_path, **env)
        run(documented("pg_restore"), tmp_path, **env)

        run('[ "$(psql --tuples-only --no-align "$DATABASE_URL" --command "SELECT name FROM saga")" = before ]', tmp_path, **env)
    finally:
        run('dropdb --maintenance-db="$URL" hub_backup', tmp_path, URL=url, **env)
