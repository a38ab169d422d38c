"""Where Flower shows what the console shows too: addresses of its pages, under that of the setting."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from django.conf import settings

from hub.checks import is_page

Page = Literal["worker", "task", "broker", ""]


def url(page: Page = "", name: str = "") -> str:
    """Return the address of a page of Flower, empty when nobody said where it is or when what was said is no page."""
    base: str = settings.HUB.flower_url.rstrip("/")
    if not base or not is_page(base):
        return ""
    parts = [base, page, quote(name, safe="@")]
    return "/".join(part for part in parts if part) if page else f"{base}/"
