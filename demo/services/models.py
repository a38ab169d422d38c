"""L04_model_gateway: reserves capacity of a model. The state is who holds how much."""

from __future__ import annotations

from demo.services.http_service import Conflict, Data, serve

CAPACITY = 1_000_000
"""Tokens per minute that the gateway can promise in all."""


def reserve(data: Data, body: Data) -> Data:
    """Promise tokens per minute to an application, or refuse when too few are left."""
    context = body["context"]
    app, wanted = context["app"], int(context.get("tokens_per_minute", 1_000))
    left = CAPACITY - sum(data["reservations"].values())
    if wanted > left:
        raise Conflict(f"{wanted} tokens per minute are not left, only {left}")
    data["reservations"][app] = wanted
    return {"model": "local-small", "tokens_per_minute": wanted}


def release(data: Data, body: Data) -> Data:
    """Give the promise back; harmless when there was none."""
    return {"released": data["reservations"].pop(body["context"]["app"], 0)}


if __name__ == "__main__":
    serve("L04_model_gateway", {"/reservations": reserve, "/reservations/release": release}, {"reservations": {}})
