"""L02_runtime: runs tasks and deployments. The state is what is deployed."""

from __future__ import annotations

from demo.services.http_service import Conflict, Data, serve


def execute(data: Data, body: Data) -> Data:
    """Run a task: the answer says how many ran before it."""
    data["executed"] += 1
    return {"task": body.get("task"), "result": "done", "executed_before": data["executed"] - 1}


def deploy(data: Data, body: Data) -> Data:
    """Deploy one application of the context under the model that was reserved for it."""
    context = body["context"]
    app = context["app"]
    if app in data["deployments"]:
        raise Conflict(f"{app} is deployed already")
    data["deployments"][app] = {"version": context["version"], "model": context.get("model")}
    return {"deployment": f"{app}@{context['version']}"}


def undeploy(data: Data, body: Data) -> Data:
    """Take it away again; harmless when it never came to be."""
    return {"undeployed": data["deployments"].pop(body["context"]["app"], None) is not None}


if __name__ == "__main__":
    serve("L02_runtime", {"/execute": execute, "/deploy": deploy, "/undeploy": undeploy}, {"executed": 0, "deployments": {}})
