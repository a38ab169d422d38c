"""The registry as layers use it from Python: the seed's names, async, over the services."""

from __future__ import annotations

from typing import Any

from hub.aio import in_thread
from registry_app import services
from registry_app.values import ServiceInfo


class ServiceRegistry:
    """Register services, find them, and ask how they are."""

    async def register_service(self, service: ServiceInfo, *, owner: str | None = None, generation: int = 0) -> ServiceInfo:
        """Register an instance, or say again what it is; return it as it now stands (see `services.register`)."""
        return await in_thread(services.register, service, owner=owner, generation=generation)

    async def deregister_service(self, service_id: str, *, owner: str | None = None, generation: int = 0) -> ServiceInfo:
        """Take an instance out of the registry; E11022 when it was never there."""
        return await in_thread(services.deregister, service_id, owner=owner, generation=generation)

    async def get_service(self, service_id: str) -> ServiceInfo:
        """Return an instance; E11022 when it is not registered."""
        return await in_thread(services.get, service_id)

    async def get_service_by_name(self, service_name: str) -> ServiceInfo:
        """Return the best instance of a service; E11020 when nobody registered that name."""
        return await in_thread(services.get_by_name, service_name)

    async def get_all_services(self, *, after: str = "", limit: int = services.MAX_PAGE) -> list[ServiceInfo]:
        """Return a page of what is registered, ordered by id; `after` is the last id of the page before."""
        return await in_thread(services.all_services, after=after, limit=limit)

    async def heartbeat(self, service_id: str, *, owner: str | None = None, generation: int = 0) -> ServiceInfo:
        """Tell that an instance is alive; E11821 when it is not registered."""
        return await in_thread(services.heartbeat, service_id, owner=owner, generation=generation)

    async def get_health_summary(self) -> dict[str, Any]:
        """Return ``{total_services, healthy, degraded, unhealthy, unknown, health_percentage, in_maintenance, self_preservation}``."""
        return await in_thread(services.health_summary)
