"""`manage.py doctor`: say in words what the hub lacks on this machine, and what to do about it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from hub.console import diagnosis, health
from hub.management.command import HubCommand


class Command(HubCommand):
    """Run every check; the exit code is 1 when one fails."""

    help = "Check the database, Redis and how it is set, migrations, workers and settings; exit code 1 when something is wrong."
    requires_system_checks: list[str] = []  # a wrong setting is a finding here, not a refusal to start

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of words")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the findings and end with 1 unless all are well."""
        findings = diagnosis.examine()
        self.stdout.write(_as_json(findings) if options["json"] else "\n".join(map(_in_words, findings)))
        self.stdout.flush()  # now: the end of a process tries once more to bring what it counted to a Redis that hangs
        if not health.all_ok(findings):
            sys.exit(1)


def _as_json(findings: list[health.Finding]) -> str:
    return json.dumps({finding.name: finding.as_json() | {"cause": finding.cause} for finding in findings}, indent=2)


def _in_words(finding: health.Finding) -> str:
    if finding.is_ok:
        return f"ok     {finding.name}: {finding.message}"
    lines = [f"WRONG  {finding.name}: {finding.code}: {finding.message}"]
    lines += [f"       because: {finding.cause}"] if finding.cause else []
    lines += [f"       to do: {finding.advice}"] if finding.advice else []
    return "\n".join(lines)
