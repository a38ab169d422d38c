"""A Redis and a database for one bench, and the environment in which all its processes find them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.embedded import free_port, start_redis
from hub.testing import databases


@contextmanager
def servers(directory: Path, database: str) -> Iterator[dict[str, str]]:
    """Run a Redis with its log on disk (fsync each second) and a database while the block lasts; yield the environment."""
    port = free_port()
    redis = start_redis(directory / "redis", port)
    try:
        with databases.started(database, directory) as found:
            yield {
                "DJANGO_SETTINGS_MODULE": "hub.settings",
                "DATABASE_URL": found.url,
                "REDIS_URL": f"redis://127.0.0.1:{port}/0",
                "HUB_VAR_DIR": str(directory / "var"),
                "HUB_SAGA_MODULES": "hub.bench.samples",
                "HUB_NO_BOOTSTRAP": "1",
                # One source publishes all that the bench has: its limit is not what is measured.
                "HUB_EVENT_MAX_PER_SEC": "100000000",
                "BENCH_DIR": str(directory),
                "BENCH_PLAIN_REDIS_URL": f"redis://127.0.0.1:{port}/1",
                "BENCH_DBOS_URL": found.url if database == "postgres" else f"sqlite:///{directory / 'dbos.sqlite3'}",
                "BENCH_REDIS_PID": str(redis.pid),
                "BENCH_POSTGRES_PID": str(found.pid() or ""),
            }
    finally:
        redis.kill()
        redis.wait(10)
