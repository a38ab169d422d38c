"""The definitions this process knows: every `SagaDefinition` at module level in `HUB_SAGA_MODULES` and `<app>/sagas.py`."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import module_has_submodule

from hub.errors import ErrorCode, IntegrationError
from sagas.definitions import SagaDefinition
from sagas.spec import SagaSpec


@cache
def specs() -> dict[tuple[str, str], SagaSpec]:
    """Return the definitions by (name, version), loaded once per process; E11931 when a module cannot be imported."""
    found: dict[tuple[str, str], SagaSpec] = {}
    for module in _modules():
        for value in vars(module).values():
            if isinstance(value, SagaDefinition):
                _add(found, value.spec(), module.__name__)
    return found


def _modules() -> list[ModuleType]:
    names = [f"{config.name}.sagas" for config in apps.get_app_configs() if module_has_submodule(config.module, "sagas")]
    names += [name.strip() for name in settings.HUB.saga_modules.split(",") if name.strip()]
    return [_import(name) for name in dict.fromkeys(names)]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise IntegrationError(
            ErrorCode.CONFIG_INVALID, f"saga module {name!r} cannot be imported: {exc}", recovery_suggestion="correct HUB_SAGA_MODULES"
        ) from exc


def _add(found: dict[tuple[str, str], SagaSpec], spec: SagaSpec, where: str) -> None:
    other = found.setdefault((spec.saga_name, spec.version), spec)
    if other.hash != spec.hash:
        raise IntegrationError(
            ErrorCode.DEFINITION_IMMUTABLE, f"saga {spec.saga_name!r} version {spec.version!r} is defined twice, again in {where}"
        )


def find(saga_name: str, version: str | None = None) -> SagaSpec:
    """Return a definition by name, the last defined if no version is given; E11420 or E11421 when there is none."""
    named = [spec for (name, _), spec in specs().items() if name == saga_name]
    if not named:
        known = ", ".join(sorted({name for name, _ in specs()})) or "none"
        raise IntegrationError(
            ErrorCode.DEFINITION_NOT_FOUND,
            f"no saga {saga_name[:100]!r} is defined here (known: {known})",
            recovery_suggestion="name its module in HUB_SAGA_MODULES and restart",
        )
    if version is None:
        return named[-1]
    wanted = [spec for spec in named if spec.version == version]
    if not wanted:
        raise IntegrationError(ErrorCode.DEFINITION_VERSION_NOT_FOUND, f"saga {saga_name!r} has no version {version!r} here")
    return wanted[0]


def holds(spec: SagaSpec) -> bool:
    """Tell whether this process may run the functions of that definition: it holds the same version with the same steps."""
    mine = specs().get((spec.saga_name, spec.version))
    return mine is not None and mine.hash == spec.hash
