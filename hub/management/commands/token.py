"""``manage.py token create|list|revoke``: tokens of the HTTP API."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from hub.api import tokens
from hub.api.models import ApiToken
from hub.api.scopes import Scope
from hub.management.command import HubCommand


class Command(HubCommand):
    help = "Make a token of the HTTP API (its text is shown once), list them, or revoke one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="print a new token; nobody can read it again")
        create.add_argument("name", help="who uses it")
        create.add_argument("--scope", action="append", required=True, choices=[scope.value for scope in Scope])
        create.add_argument("--days", type=float, default=tokens.DEFAULT_DAYS, help="how long it lives")
        verbs.add_parser("list", help="all tokens, without their secrets")
        verbs.add_parser("revoke", help="end a token at once").add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['verb']}")(options)

    def _create(self, options: dict[str, Any]) -> None:
        row, text = tokens.create(options["name"], options["scope"], by=getpass.getuser(), days=options["days"])
        self.stderr.write(f"{row.name} may {', '.join(row.scopes)} until {row.expires_at:%Y-%m-%d}; shown once:")
        self.stdout.write(text)

    def _list(self, options: dict[str, Any]) -> None:
        for row in ApiToken.objects.order_by("name")[: tokens.MAX_TOKENS]:
            standing = f"until {row.expires_at:%Y-%m-%d}" if row.is_valid else "ended"
            used = f"{row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never"
            self.stdout.write(f"{row.name}  hub_{row.prefix}…  {standing}  last used {used}  {' '.join(row.scopes)}")

    def _revoke(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"{tokens.revoke(options['name']).name} is revoked")
