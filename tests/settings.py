"""Settings of a test run: an own ``var/``, an own Redis, and the database of ``DATABASE_URL`` (SQLite if unset).

``HUB_TEST_REDIS_URL`` names a Redis to use instead of the run's own. Sagas for tests lie in ``tests/<room>/saga_samples.py``;
each such module, and the demo's, is known to the workers that tests start.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hub.embedded import free_port, start_redis

ROOT = Path(__file__).resolve().parent.parent
SAGA_MODULES = [*ROOT.glob("tests/*/saga_samples.py"), *ROOT.glob("demo/sagas.py")]

# Under pytest-xdist each worker process inherits the environment of the first one, and needs a world of its own.
OWNER = os.environ.get("PYTEST_XDIST_WORKER", "main")

if os.environ.get("HUB_TEST_OWNER") != OWNER:
    os.environ["HUB_TEST_OWNER"] = OWNER
    var = Path(tempfile.mkdtemp(prefix="hub-test-"))
    atexit.register(shutil.rmtree, var, ignore_errors=True)
    os.environ["HUB_TEST_VAR"] = os.environ["HUB_VAR_DIR"] = str(var)
    os.environ["HUB_SAGA_MODULES"] = ",".join(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(SAGA_MODULES))
    os.environ.setdefault("HUB_SAGA_MAX_UNDOS_PER_TARGET", "3")  # few enough for a handful of workers to reach
    if "HUB_TEST_REDIS_URL" in os.environ:
        os.environ["REDIS_URL"] = os.environ["HUB_TEST_REDIS_URL"]
    else:
        port = free_port()
        server = start_redis(var / "redis", port, append_only=False)
        atexit.register(server.wait, 10)
        atexit.register(server.terminate)
        os.environ["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"

from hub.settings import *  # noqa: E402, F403

# Tests write spans and metrics when they say so: a thread of its own would race with their transactions.
HUB = HUB.model_copy(update={"telemetry_in_background": False})  # noqa: F405

STATIC_ROOT.mkdir(exist_ok=True)  # noqa: F405 (the web process gathers static files at its start, tests do not)

PASSWORD_HASHERS = ["tests.passwords.QuickHasher"]
