"""A real browser: Debian's chromium, driven by Playwright, on the test run's own web server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hub.redis_client import client as redis_client
from tests.browser.visit import PATIENCE_MS, Visit

CHROMIUM = shutil.which("chromium")
expect.set_options(timeout=PATIENCE_MS)  # the five seconds of Playwright are few on a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine: apt-get install chromium libatomic1")
        pytest.skip("no chromium on this machine: apt-get install chromium libatomic1")
    # Playwright's synchronous face runs a loop in this thread, and Django would refuse its queries for that.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(autouse=True)
def _alone(no_worker_unless_asked: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test puts on the page stays as it is, and what it forced upon the fleet ends with it."""
    yield
    if "worker" not in request.fixturenames:
        redis_client().flushdb()


@pytest.fixture
def operator(transactional_db: None) -> User:
    return User.objects.create_superuser("ann")


@pytest.fixture
def visit(browser: Browser, live_server: object, operator: User) -> Iterator[Callable[..., Visit]]:
    """Open a tab in which an operator is logged in: `visit(theme="dark", width=390)`."""
    opened: list[Page] = []

    def open_tab(*, theme: str = "light", width: int = 1280) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        client = Client()
        client.force_login(operator)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": str(live_server)}])
        opened.append(context.new_page())
        return Visit(opened[-1], str(live_server))

    yield open_tab
    for page in opened:
        page.context.close()
