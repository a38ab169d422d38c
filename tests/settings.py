"""Settings of a test run: an own ``var/``, an own Redis, and the database of ``DATABASE_URL`` (SQLite if unset)."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hub.embedded import free_port, start_redis

if "HUB_TEST_VAR" not in os.environ:
    var = Path(tempfile.mkdtemp(prefix="hub-test-"))
    atexit.register(shutil.rmtree, var, ignore_errors=True)
    os.environ["HUB_TEST_VAR"] = os.environ["HUB_VAR_DIR"] = str(var)
    if "HUB_TEST_REDIS_URL" not in os.environ:
        port = free_port()
        server = start_redis(var / "redis", port, append_only=False)
        atexit.register(server.wait, 10)
        atexit.register(server.terminate)
        os.environ["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"

from hub.settings import *  # noqa: E402, F403
