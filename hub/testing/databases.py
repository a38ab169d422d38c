"""A database of its own for a storm or a bench, SQLite or Postgres, each with a way to be gone for a while."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from hub.embedded import free_port


class Sqlite:
    """A file; it is gone while somebody else holds the write lock."""

    name = "sqlite"

    def __init__(self, directory: Path) -> None:
        self.path = directory / "hub.sqlite3"
        self.url = f"sqlite:///{self.path}"

    def start(self) -> None:
        """Do nothing: the file is made by who opens it first."""

    def remove(self) -> None:
        """Do nothing: the file stays."""

    def pid(self) -> int | None:
        """Return None: there is no server."""
        return None

    def be_gone(self, seconds: float) -> str:
        """Hold the write lock that long and return the proof."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as held:
            held.execute("BEGIN EXCLUSIVE")
            since = time.monotonic()
            time.sleep(seconds)
            held.execute("ROLLBACK")
            return f"write lock held for {time.monotonic() - since:.1f} s"


class Postgres:
    """A server of its own in a directory of its own; run by an unprivileged user where the caller is root."""

    name = "postgres"

    def __init__(self, directory: Path) -> None:
        # Not below `directory`: that may lie where only root may pass.
        self.directory, self.port = Path(tempfile.mkdtemp(prefix="hub-postgres-")), free_port()
        self.url = f"postgres://hub@127.0.0.1:{self.port}/hub"
        self._bin = _binaries()
        self._user = _user()

    def start(self) -> None:
        """Make the cluster and the database, and start it."""
        if self._user:
            shutil.chown(self.directory, self._user)
        self._run("initdb", "-D", "data", "-U", "hub", "-A", "trust", "--no-sync")
        self._up()
        with psycopg.connect(self.url.removesuffix("/hub") + "/postgres", autocommit=True) as session:
            session.execute("CREATE DATABASE hub")

    def _up(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k . -c max_connections=100"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def pid(self) -> int | None:
        """Return the process id of the server."""
        return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])

    def stop(self) -> None:
        """Stop it at once."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def be_gone(self, seconds: float) -> str:
        """Crash the server, start it that much later, and return the proof."""
        self.stop()
        since = time.monotonic()
        time.sleep(seconds)
        self._up()
        return f"server gone for {time.monotonic() - since:.1f} s"

    def _run(self, program: str, *arguments: str) -> None:
        user: dict[str, Any] = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []} if self._user else {}
        command = [str(self._bin / program), *arguments]
        subprocess.run(command, cwd=self.directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)  # noqa: S603


def _binaries() -> Path:
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not candidates:
        raise FileNotFoundError("no Postgres server is installed (initdb is not there)")
    return candidates[0]


def _user() -> str:
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def is_installed(name: str) -> bool:
    """Tell whether that database can be started here."""
    try:
        return name == "sqlite" or bool(_binaries())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def started(name: str, directory: Path) -> Iterator[Sqlite | Postgres]:
    """Run the database while the block lasts."""
    database: Sqlite | Postgres = Postgres(directory) if name == "postgres" else Sqlite(directory)
    try:
        database.start()
        yield database
    finally:
        database.remove()
