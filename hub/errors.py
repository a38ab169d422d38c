"""What the hub raises: one tree, each error with a code (`hub.error_codes`).

IntegrationError                 anything the hub refuses or fails at
├── RequestFailed                a routed request got no good answer; says whether anything was sent
├── CircuitOpen                  a breaker did not admit the call; nothing was sent
Refused                          raised by a step: "no, and nothing happened" (turns the saga back at once)
OutcomeUnknown                   raised by a step: "it may have happened" (the step is undone too)
"""

from __future__ import annotations

import re
from typing import Any, Literal

from hub.error_codes import ErrorCode, find_code

__all__ = ["CircuitOpen", "ErrorCode", "IntegrationError", "OutcomeUnknown", "Refused", "RequestFailed"]

_CODE_PREFIX = re.compile(r"^(E11\d{3}): (.*)$", re.DOTALL)


class IntegrationError(Exception):
    """Say what went wrong, with which value, and what to do about it.

    ``str()`` starts with the code (``E11020: ...``), so that a caller without this package can read it from a
    Celery result. A single string of that form builds the error again on the caller's side.
    """

    def __init__(
        self,
        code: ErrorCode | str,
        message: str = "",
        details: dict[str, Any] | None = None,
        recovery_suggestion: str | None = None,
    ) -> None:
        self.code, self.message = _split(code, message)
        self.details = details or {}
        self.recovery_suggestion = recovery_suggestion
        super().__init__(self._text())

    @property
    def is_recoverable(self) -> bool:
        """Tell whether the same call may succeed later without a change by the caller."""
        return self.code.retry in ("later", "same_key")

    def advise(self, todo: str) -> None:
        """Say what to do about it, where more is known of the call than where it failed."""
        self.recovery_suggestion = todo
        self.args = (self._text(),)

    def _text(self) -> str:
        text = f"{self.code}: {self.message}"
        return f"{text} ({self.recovery_suggestion})" if self.recovery_suggestion else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.code, self.message, self.details, self.recovery_suggestion, self._extra())

    def _extra(self) -> dict[str, Any]:
        return {}


def _split(code: ErrorCode | str, message: str) -> tuple[ErrorCode, str]:
    if isinstance(code, ErrorCode):
        return code, message or code.text
    found = _CODE_PREFIX.match(code)
    if found:
        return find_code(found[1]), found[2]
    return find_code(code), message or find_code(code).text


def _rebuild(
    cls: type[IntegrationError],
    code: ErrorCode,
    message: str,
    details: dict[str, Any],
    recovery_suggestion: str | None,
    extra: dict[str, Any],
) -> IntegrationError:
    return cls(code, message, details, recovery_suggestion, **extra)


Outcome = Literal["nothing_sent", "unknown", "answered"]


class RequestFailed(IntegrationError):
    """A routed request failed; ``outcome`` tells whether the service may have acted on it."""

    def __init__(
        self,
        code: ErrorCode | str,
        message: str = "",
        details: dict[str, Any] | None = None,
        recovery_suggestion: str | None = None,
        *,
        outcome: Outcome = "answered",
        status_code: int | None = None,
    ) -> None:
        super().__init__(code, message, details, recovery_suggestion)
        self.outcome: Outcome = outcome
        self.status_code = status_code

    def _extra(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "status_code": self.status_code}


class CircuitOpen(IntegrationError):
    """The breaker of a service did not admit the call; ``retry_after_sec`` says when to ask again."""

    def __init__(
        self,
        code: ErrorCode | str,
        message: str = "",
        details: dict[str, Any] | None = None,
        recovery_suggestion: str | None = None,
        *,
        retry_after_sec: float | None = None,
    ) -> None:
        super().__init__(code, message, details, recovery_suggestion)
        self.retry_after_sec = retry_after_sec

    def _extra(self) -> dict[str, Any]:
        return {"retry_after_sec": self.retry_after_sec}


class Refused(Exception):
    """Raised by a step's action: the answer is no and nothing happened; the saga turns back without retries."""


class OutcomeUnknown(Exception):
    """Raised by a step's action: it may have happened; after the retries the step itself is undone too."""
