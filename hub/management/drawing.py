"""Tables of rich as text."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def drawn(table: Table, *, width: int) -> str:
    """Return a table as it is printed, as wide in a pipe as at a terminal."""
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
