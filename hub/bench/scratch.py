"""A database and a Redis that exist for one benchmark only: made empty, migrated, and dropped at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection
from django.test.utils import override_settings, setup_test_environment, teardown_test_environment

from hub.embedded import free_port, start_redis


@contextmanager
def scratch() -> Iterator[str]:
    """Work on a new database beside that of DATABASE_URL and on a new Redis; give the database's name.

    The name holds this process's number, so that it is nobody else's; the user's own database is never opened.
    """
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder, _redis(Path(folder)) as url, override_settings(REDIS_URL=url):
        name = f"hub_bench_{os.getpid()}"
        own = connection.settings_dict["NAME"]
        connection.settings_dict["TEST"]["NAME"] = str(Path(folder) / f"{name}.sqlite3") if connection.vendor == "sqlite" else name
        setup_test_environment(debug=False)
        made = connection.creation.create_test_db(verbosity=0, autoclobber=False, serialize=False)
        try:
            yield made
        finally:
            connection.creation.destroy_test_db(own, verbosity=0)
            teardown_test_environment()


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = free_port()
    server = start_redis(folder / "redis", port, append_only=False)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)
