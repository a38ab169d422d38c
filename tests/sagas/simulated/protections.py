"""What keeps a history right. Each can be switched off, in the shell or at the target; the machine has no such switches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Protections:
    """All on, as in the product. A simulation with one of them off must give invalid histories."""

    stable_key: bool = True
    """The idempotency key is the same over all attempts (S8)."""
    key_honoured: bool = True
    """The target does nothing twice under one key."""
    tombstone: bool = True
    """The target refuses an action whose undo it has seen (S6)."""
    sweeper: bool = True
    """Somebody looks at runs that stand still (S13, S25)."""
    doubt: bool = True
    """What may have happened is undone (S2)."""
    intent: bool = True
    """"About to run" is committed before the call (S4)."""
    fence: bool = True
    """An attempt reports under the epoch of its own claim (S7, S20)."""
    revision: bool = True
    """A save succeeds only on the revision that was loaded (S15)."""
    reverse: bool = True
    """What started last is undone first (S1)."""
    pinned: bool = True
    """A function runs only where the very definition of the run is loaded (S21)."""
    callbacks: bool = True
    """Error callbacks arrive. Without them everything must still be right (S25)."""
    links: bool = True
    """A finished link sends the next. Without that the sweeper alone must carry every run on (S14)."""
