"""L05_planning: plans which agents serve an application. The state is the plans."""

from __future__ import annotations

from demo.services.http_service import Conflict, Data, serve

MOST_AGENTS = 50


def make_plan(data: Data, body: Data) -> Data:
    """Plan the agents of an application."""
    context = body["context"]
    data["plans"][context["app"]] = {"agents": int(context.get("agents", 1)), "active": False}
    return {"plan": f"plan-{context['app']}"}


def drop_plan(data: Data, body: Data) -> Data:
    """Forget the plan; harmless when there is none."""
    return {"dropped": data["plans"].pop(body["context"]["app"], None) is not None}


def activate(data: Data, body: Data) -> Data:
    """Put a plan to work, or refuse one that asks for more agents than there are."""
    app = body["context"]["app"]
    if app not in data["plans"]:
        raise Conflict(f"there is no plan for {app}")
    if data["plans"][app]["agents"] > MOST_AGENTS:
        raise Conflict(f"{data['plans'][app]['agents']} agents wanted, {MOST_AGENTS} there")
    data["plans"][app]["active"] = True
    return {"active": True}


if __name__ == "__main__":
    serve("L05_planning", {"/plans": make_plan, "/plans/drop": drop_plan, "/plans/activate": activate}, {"plans": {}})
