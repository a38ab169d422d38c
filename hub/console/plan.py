"""Which processes `manage.py up` runs, with which commands and addresses: values in, values out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hub.celery import QUEUES
from hub.console.processes import ProcessSpec

DEMO_SERVICES = ("runtime", "models", "planner")
FLOWER_CONFIG = Path(__file__).with_name("flowerconfig.py")
REDIS_STAGE, SERVICE_STAGE, HUB_STAGE, WATCHER_STAGE = range(4)
_OUTSIDE = {"DJANGO_SETTINGS_MODULE": ""}
"""With ours, which `manage.py` sets, a layer's worker would load the hub and give a sign of life as one of its workers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One running hub: where it listens, where its data is. Ports are on loopback."""

    var_dir: Path
    redis_url: str
    database_url: str
    web_port: int
    flower_port: int
    flower_password: str
    flower_link: str
    """Where the console's links lead when Flower is reached under another address than its own; else empty."""
    saga_modules: str
    demo_ports: Mapping[str, int]

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def flower_url(self) -> str:
        return f"http://127.0.0.1:{self.flower_port}"

    def demo_url(self, service: str) -> str:
        """Return where a demo service listens."""
        return f"http://127.0.0.1:{self.demo_ports[service]}"


def environment(site: Site) -> dict[str, str]:
    """Return what every process of the hub is told: they must agree on database, Redis and `var/`."""
    return {
        "DATABASE_URL": site.database_url,
        "REDIS_URL": site.redis_url,
        # For the demo's plain Celery client: what these say for other programs would go before the address it gives.
        "CELERY_BROKER_URL": site.redis_url,
        "CELERY_RESULT_BACKEND": site.redis_url,
        "HUB_VAR_DIR": str(site.var_dir),
        "HUB_SAGA_MODULES": site.saga_modules,
        "HUB_NO_BOOTSTRAP": "1",
        "DJANGO_SETTINGS_MODULE": "hub.settings",
        "PYTHONUNBUFFERED": "1",
    }


def hub_processes(site: Site, *, with_relay: bool) -> list[ProcessSpec]:
    """Return the processes of the hub itself; Redis is not among them."""
    env = environment(site)
    specs = [
        _python(
            "web", *_gunicorn(site), env=env | {"HUB_FLOWER_URL": site.flower_link or site.flower_url}, ready_url=f"{site.web_url}/readyz"
        ),
        _python("worker", *_celery("worker", "-n", "hub@%h", "-Q", ",".join(QUEUES), "-c", "4", "--without-mingle"), env=env),
        _python("beat", *_celery("beat", "--pidfile="), env=env),
        # Flower asks the workers once, at its start: it must not come before them.
        _python("flower", *_flower(site), env=_flower_env(site), stage=WATCHER_STAGE, ready_url=f"{site.flower_url}/healthcheck"),
    ]
    if with_relay:
        specs.append(_python("relay", "manage.py", "relay", env=env))
    return specs


def demo_processes(site: Site) -> list[ProcessSpec]:
    """Return the demo's services and its layer; they know nothing of the hub but the broker's address."""
    if not site.demo_ports:
        return []
    specs = []
    for service in site.demo_ports:
        state = site.var_dir / "demo" / f"{service}.json"
        command = ("-m", f"demo.services.{service}", "--port", str(site.demo_ports[service]), "--state", str(state))
        specs.append(_python(f"demo-{service}", *command, env=_OUTSIDE, stage=SERVICE_STAGE, ready_url=f"{site.demo_url(service)}/health"))
    layer_env = _OUTSIDE | {"BROKER_URL": site.redis_url, "TOOLS_STATE": str(site.var_dir / "demo" / "tools.json")}
    layer = ("-m", "celery", "-A", "demo.layers.tools", "worker", "-n", "l03@%h", "-Q", "l03", "-c", "1", "--without-mingle")
    specs.append(_python("demo-l03", *layer, env=layer_env, stage=SERVICE_STAGE))
    return specs


def redis_process(site: Site, command: list[str]) -> ProcessSpec:
    """Return the embedded Redis: first to start, last to stop."""
    return ProcessSpec(name="redis", command=tuple(command), stage=REDIS_STAGE, ready_url=site.redis_url)


def run_record(site: Site, *, pid: int, admin_user: str, processes: Mapping[str, int]) -> dict[str, object]:
    """Return the content of `var/run.json`."""
    return {
        "pid": pid,
        "web_url": f"{site.web_url}/",
        "admin_url": f"{site.web_url}/admin/",
        "flower_url": f"{site.flower_url}/",
        "redis_url": site.redis_url,
        "database_url": site.database_url,
        "saga_modules": site.saga_modules,
        "admin_user": admin_user,
        "demo": {service: site.demo_url(service) for service in site.demo_ports},
        "processes": dict(processes),
    }


def without_password(url: str) -> str:
    """Return the address as it may be shown on a screen."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl() if parts.password else url


def _python(
    name: str, *arguments: str, env: Mapping[str, str] | None = None, stage: int = HUB_STAGE, ready_url: str | None = None
) -> ProcessSpec:
    return ProcessSpec(name=name, command=(sys.executable, *arguments), env=env or {}, stage=stage, ready_url=ready_url)


def _celery(*arguments: str) -> tuple[str, ...]:
    return ("-m", "celery", "-A", "hub", *arguments, "-l", "INFO")


def _gunicorn(site: Site) -> tuple[str, ...]:
    bind = f"127.0.0.1:{site.web_port}"
    threads = ("--worker-class", "gthread", "--workers", "2", "--threads", "8", "--graceful-timeout", "10")
    return ("-m", "gunicorn", "hub.wsgi:application", "--bind", bind, *threads, "--no-control-socket")


def _flower(site: Site) -> tuple[str, ...]:
    listen = ("--address=127.0.0.1", f"--port={site.flower_port}")
    memory = ("--persistent=True", f"--db={site.var_dir / 'flower'}", "--state_save_interval=10000", "--max_tasks=10000")
    return ("-m", "celery", "-A", "hub", "flower", f"--conf={FLOWER_CONFIG}", *listen, *memory)


def _flower_env(site: Site) -> dict[str, str]:
    # Not on the command line, which every user of the machine can read.
    return environment(site) | {"FLOWER_BASIC_AUTH": f"hub:{site.flower_password}"}
