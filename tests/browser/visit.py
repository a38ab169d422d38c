"""One tab of a person: counts clicks, and keeps what the browser complained about and whom it called."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page

PATIENCE_MS = 30_000
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# Frames and preloading have nothing to look at here and cost time.
_LOOK = """async only => {
    const found = await axe.run(document, {resultTypes: ["violations"], iframes: false, preload: false, runOnly: only});
    return found.violations.filter(one => ["serious", "critical"].includes(one.impact)).map(one =>
        one.id + ": " + one.nodes.map(node => node.target.join(" ")).slice(0, 3).join(" | "));
}"""
_FOCUSED_ACTION = "document.activeElement.matches('.hub-action > summary') ? document.activeElement.textContent.trim() : ''"


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

    def barriers(self, *rules: str) -> list[str]:
        """Return what axe-core finds serious (of these rules, or of all): the rule, and the first places."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        found: list[str] = self.page.evaluate(_LOOK, list(rules or RULES))
        return found

    def actions_by_tab(self, wanted: int, presses: int = 150) -> set[str]:
        """Return the actions that the Tab key comes by, from the top of the page until it came by so many."""
        found: set[str] = set()
        for _ in range(presses):
            if len(found) == wanted:
                break
            self.page.keyboard.press("Tab")
            found |= {self.page.evaluate(_FOCUSED_ACTION)} - {""}
        return found
