"""One tab of a person: counts clicks, and keeps what the browser complained about and whom it called."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

PATIENCE_MS = 20_000


class Visit:
    def __init__(self, page: Page, base_url: str) -> None:
        self.page, self.base_url, self.clicks = page, base_url, 0
        self.complaints: list[str] = []
        self.outside: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._note(request.url))
        page.on("response", lambda answer: answer.status >= 400 and self.complaints.append(f"{answer.status} {answer.url}"))

    def _note(self, url: str) -> None:
        if not url.startswith((self.base_url, "data:", "blob:")):
            self.outside.append(url)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.base_url}{path}", wait_until="load")

    def click(self, what: Locator) -> None:
        self.clicks += 1
        what.click()

    def is_dark(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.classList.contains('dark')"))

    def overflow_px(self) -> int:
        """Return by how much the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))
