"""The definitions this process knows: every `SagaDefinition` at module level in `HUB_SAGA_MODULES` and `<app>/sagas.py`."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import module_has_submodule

from hub.errors import ErrorCode, IntegrationError
from sagas import lint
from sagas.definitions import SagaDefinition
from sagas.spec import SagaSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """Definitions by (name, version), in the order in which they were defined: as data, and as their authors wrote them."""

    specs: Mapping[tuple[str, str], SagaSpec]
    definitions: Mapping[tuple[str, str], SagaDefinition]


@cache
def catalog() -> Catalog:
    """Return the definitions that this process knows, loaded once; E11931 when a module cannot be imported."""
    return collect(_modules())


def collect(modules: Iterable[ModuleType]) -> Catalog:
    """Return every definition at the modules' top level; E11422 for one defined twice, E11410 for a circle of children."""
    specs: dict[tuple[str, str], SagaSpec] = {}
    definitions: dict[tuple[str, str], SagaDefinition] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, SagaDefinition):
                spec = value.spec()
                _add(specs, spec, module.__name__)
                definitions[spec.saga_name, spec.version] = value
    lint.check_circles({spec.saga_name: [step.do.target for step in spec.steps if step.do.kind == "saga"] for spec in specs.values()})
    return Catalog(specs=specs, definitions=definitions)


def specs() -> Mapping[tuple[str, str], SagaSpec]:
    """Return the definitions as data by (name, version)."""
    return catalog().specs


def definition_of(spec: SagaSpec) -> SagaDefinition:
    """Return what the author wrote for a definition that `find` returned."""
    return catalog().definitions[spec.saga_name, spec.version]


def _modules() -> list[ModuleType]:
    names = [f"{config.name}.sagas" for config in apps.get_app_configs() if module_has_submodule(config.module, "sagas")]
    return [_import(name) for name in dict.fromkeys([*names, *settings.HUB.resolved_saga_modules()])]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except IntegrationError:
        raise  # a definition that is wrong says so itself
    except Exception as exc:  # the module is the site's own, whatever it raises
        raise IntegrationError(
            ErrorCode.CONFIG_INVALID,
            f"saga module {name!r} cannot be imported: {_why(exc)}",
            recovery_suggestion="correct HUB_SAGA_MODULES or the module, or have PYTHONPATH name the directory it lies in",
        ) from exc


def _why(exc: Exception) -> str:
    if isinstance(exc, ModuleNotFoundError):
        return str(exc)
    if isinstance(exc, SyntaxError):  # it names the place itself
        return f"SyntaxError: {exc}"
    last = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{type(exc).__name__}: {exc} ({last.filename}, line {last.lineno})"


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
        raise IntegrationError(ErrorCode.DEFINITION_VERSION_NOT_FOUND, f"saga {saga_name!r} has no version {version!r:.100} here")
    return wanted[0]


def defines(saga_name: str) -> bool:
    """Tell whether this process holds any version of that saga."""
    return any(name == saga_name for name, _ in specs())


def holds(spec: SagaSpec) -> bool:
    """Tell whether this process may run the functions of that definition: it holds the same version with the same steps."""
    mine = specs().get((spec.saga_name, spec.version))
    return mine is not None and mine.hash == spec.hash
