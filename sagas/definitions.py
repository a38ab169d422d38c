"""What an author writes: `SagaDefinition`, a list of `SagaStep` (pure; a definition holds no run-time state, S28)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagas import checks, lint
from sagas.spec import OnLock, SagaSpec, digest
from sagas.steps import Action, SagaStep, local_target, reference, step_spec

__all__ = ["SagaDefinition", "SagaStep"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaDefinition:
    """A named list of steps that complete together or are undone together. Build it with `create`, which checks it."""

    saga_name: str
    steps: tuple[SagaStep, ...]
    timeout_sec: float = 300
    auto_compensate: bool = True
    version: str | None = None
    locks: tuple[str, ...] = ()
    on_lock: OnLock = "wait"
    inline: bool = False
    preflight: bool = False
    input_types: Mapping[str, type] = field(default_factory=dict)
    strict: bool = False
    retired: bool = False

    @classmethod
    def create(
        cls,
        saga_name: str,
        steps: Iterable[SagaStep],
        timeout_sec: float = 300,
        auto_compensate: bool = True,
        version: str | int | None = None,
        locks: Iterable[str] = (),
        on_lock: OnLock = "wait",
        inline: bool = False,
        preflight: bool = False,
        input_types: Mapping[str, type] | None = None,
        strict: bool = False,
        retired: bool = False,
    ) -> SagaDefinition:
        """Return the definition, or refuse it with the code of what is wrong (E11401-E11416, E11460, E11482, E11902).

        `locks`: entities, such as ``order:{id}`` with fields of the context, that one run works on at a time; another
        run waits for them or, with ``on_lock="refuse"``, is refused. `inline`: consecutive steps run in one task, each
        move committed as before. `preflight`: a start is refused while a task, queue or service it needs is away.

        What decides about new starts only, and is no part of the version: `input_types`, such as ``{"app": str}``: fields
        that the context must have (E11411). `strict`: each step says how it is undone, or why it need not be
        (`no_compensation`, E11406), and each start has an idempotency key (E11901). `retired`: no new starts (E11427); kept
        for the runs in flight.
        """
        steps = tuple(steps) if isinstance(steps, list | tuple) else ()
        checks.check_locks(locks, on_lock)
        built = cls(
            saga_name=saga_name,
            steps=steps,
            timeout_sec=timeout_sec,
            auto_compensate=auto_compensate,
            version=None if version is None else str(version),
            locks=tuple(locks),
            on_lock=on_lock,
            inline=inline,
            preflight=preflight,
            input_types=checks.checked_input_types(input_types),
            strict=strict,
            retired=retired,
        )
        checks.check(built.saga_name, built.steps, built.timeout_sec)
        checks.check_version(built.version)
        if strict:
            lint.check_undoable(built.steps)
        return built

    def spec(self) -> SagaSpec:
        """Return the definition as data; without a given version its hash names it."""
        fields: dict[str, Any] = {
            "saga_name": self.saga_name,
            "steps": tuple(step_spec(step) for step in self.steps),
            "timeout_sec": float(self.timeout_sec),
            "auto_compensate": self.auto_compensate,
            "locks": self.locks,
            "on_lock": self.on_lock,
            "inline": self.inline,
            "preflight": self.preflight,
        }
        hash = digest(SagaSpec(version="", **fields))
        return SagaSpec(version=self.version or hash, hash=hash, **fields)

    def local_functions(self) -> dict[str, Action]:
        """Return the closures that only this process has, by the target that the spec gives them."""
        found = {}
        for step in self.steps:
            for function, direction in ((step.action, "do"), (step.compensation, "undo"), (step.verify, "verify")):
                if function and reference(function) is None:
                    found[local_target(step, direction)] = function
        return found
