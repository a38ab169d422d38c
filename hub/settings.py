"""Django settings of the hub: the environment is read once, in `hub.conf`."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import dj_database_url
from pydantic import ValidationError

from hub.conf import BASE_DIR, HubSettings
from hub.kept_secrets import kept_secret


def _refuse(problems: str) -> NoReturn:
    sys.exit(f"E11931: a setting has a wrong value: {problems}. Correct the variable and start again.")


def _variable(place: tuple[int | str, ...]) -> str:
    name = str(place[0])
    return name if name.isupper() else f"HUB_{name.upper()}"


try:
    HUB = HubSettings()
    # The database has sessions and the queues have secrets: other users of the machine are not to read them.
    HUB.var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Kept, so that sessions survive a restart and what was sealed stays readable.
    SECRET_KEY = HUB.secret_key or kept_secret(HUB.var_dir / "secret_key", length=50)[0]
except ValidationError as exc:
    # Values are not repeated: every process would write a password or a credential to its log.
    problems = exc.errors(include_input=False, include_url=False)
    _refuse("; ".join(f"{_variable(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in problems))
except OSError as exc:
    _refuse(f"HUB_VAR_DIR: nothing can be kept there: {exc.strerror}")
REDIS_URL = HUB.resolved_redis_url()
DEBUG = HUB.debug
# By its own address each container asks itself whether it is well, whatever the names are under which others reach it.
_OWN = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = [*_OWN, *(host.strip() for host in HUB.allowed_hosts.split(",") if host.strip())]
CSRF_TRUSTED_ORIGINS = [origin.strip() for origin in HUB.csrf_trusted_origins.split(",") if origin.strip()]
TEST_RUNNER = "tests.runner.PytestRunner"
ROOT_URLCONF = "hub.urls"
WSGI_APPLICATION = "hub.wsgi.application"

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "hub",
    "hub.telemetry",
    "hub.events",
    "hub.circuits",
    "registry_app",
    "hub.routing",
    "sagas",
    "sagas.participant",
    "hub.api",
    "hub.console",
]

MIDDLEWARE = [
    "hub.api.entrance.ApiEntrance",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "hub.console.entrance.PageEntrance",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


# A server whose machine or network is gone without a word: the kernel's own patience is a quarter of an hour, in which no sweep,
# worker or page would try another connection. What DATABASE_URL says of these goes before.
_SILENCE = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}


def _database() -> dict[str, Any]:
    config: dict[str, Any] = dict(dj_database_url.parse(HUB.resolved_database_url(), conn_max_age=600))
    options: dict[str, Any] = config.setdefault("OPTIONS", {})
    if config["ENGINE"].endswith("sqlite3"):
        if config["NAME"] != ":memory:":
            config["NAME"] = str(BASE_DIR / config["NAME"])  # below the checkout, as HUB_VAR_DIR
        # IMMEDIATE: a transaction that will write takes the lock at its start and waits, instead of failing half way.
        options |= {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}
        # A file, so that worker processes of a test run see the same rows.
        config["TEST"] = {"NAME": str(HUB.var_dir / "test.sqlite3")}
    else:
        config["ENGINE"] = "hub.postgres"
        config["OPTIONS"] = _SILENCE | options | {"answer_sec": HUB.database_answer_sec}
        config["CONN_HEALTH_CHECKS"] = True
    return config


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["hub.formats"]
STATIC_URL = "static/"
STATIC_ROOT = HUB.var_dir / "static"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
# The largest body that any entrance takes, spans or the API's: Django's own limit would come before a larger one that was set.
DATA_UPLOAD_MAX_MEMORY_SIZE = max(4_000_000, HUB.api_max_body_bytes())
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HUB.https
# A month, and this name alone: other names of the domain, and a list in every browser, are for its owner to decide.
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if HUB.https else 0
# Only a proxy that sets it itself may be believed: without one, any caller could write this header.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HUB.https else None
# What no setting of ours answers is for the owner of the domain and of the proxy in front: names below it, the list in every
# browser, the redirect to https. Said at each `check --deploy`, it would hide what is wrong.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SECURE_CONTENT_TYPE_NOSNIFF = True
CSRF_FAILURE_VIEW = "hub.console.failures.csrf_failed"
X_FRAME_OPTIONS = "DENY"

UNFOLD = {
    "SITE_TITLE": "Integration hub",
    "SITE_HEADER": "Integration hub",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "hub.console.navigation.favicon"}],
    "STYLES": ["hub.console.navigation.style"],
    "SCRIPTS": ["hub.console.navigation.script"],
    "DASHBOARD_CALLBACK": "hub.console.overview.views.dashboard",
    "SIDEBAR": {"show_search": True, "show_all_applications": True, "navigation": "hub.console.navigation.sidebar"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": f"hub.telemetry.logs.{'Json' if HUB.log_format == 'json' else 'Text'}Formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "hub": {"handlers": ["stderr"], "level": HUB.log_level, "propagate": False},
        "registry_app": {"handlers": ["stderr"], "level": HUB.log_level, "propagate": False},
        "sagas": {"handlers": ["stderr"], "level": HUB.log_level, "propagate": False},
        # Refused hosts and CSRF failures: what was sent is in the log alone.
        "django.security": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        # It warns of each value that it cuts to the limit we gave it: a line per failed call in a storm.
        "opentelemetry.attributes": {"level": "ERROR"},
    },
}
