"""An ordinary script of a layer: no Django set-up, one `asyncio.run`. The names come from the module given as argument."""

import asyncio
import importlib
import sys

face = importlib.import_module(sys.argv[1])
SERVICE_URL = sys.argv[2]

IntegrationLayer, ServiceInfo, HealthCheck = face.IntegrationLayer, face.ServiceInfo, face.HealthCheck
HealthCheckType, EventMessage, RequestContext = face.HealthCheckType, face.EventMessage, face.RequestContext
SagaDefinition, SagaStep, TraceSpan, Metric = face.SagaDefinition, face.SagaStep, face.TraceSpan, face.Metric


async def basic_usage(integration):
    service = ServiceInfo.create(
        service_name="L02_runtime",
        service_version="0.1.0",
        endpoint=SERVICE_URL,
        health_check=HealthCheck(check_type=HealthCheckType.HTTP, endpoint=f"{SERVICE_URL}/health"),
    )
    await integration.service_registry.register_service(service)
    response = await integration.request_orchestrator.route_request(
        service_name="L02_runtime", method="POST", path="/execute", data={"task": "example"}
    )
    print("routed:", response)


async def registry(service_registry):
    service = ServiceInfo.create(service_name="L03_tool_execution", service_version="0.1.0", endpoint=SERVICE_URL)
    await service_registry.register_service(service)
    service = await service_registry.get_service_by_name("L03_tool_execution")
    summary = await service_registry.get_health_summary()
    names = ("total_services", "healthy", "degraded", "unhealthy", "unknown", "health_percentage")
    print("registry:", service.service_name, summary["total_services"], all(name in summary for name in names))


async def events(event_bus):
    received = asyncio.Event()

    async def handle_event(event: EventMessage):
        print(f"Received: {event.topic} - {event.payload}")
        received.set()

    sub_id = await event_bus.subscribe(topic="agent.created", handler=handle_event)
    event = EventMessage.create(topic="agent.created", event_type="created", payload={"agent_id": "agent-123"})
    await event_bus.publish(event)
    await asyncio.wait_for(received.wait(), 10)
    await event_bus.unsubscribe(sub_id)
    sub_id = await event_bus.subscribe(topic="agent.*", handler=handle_event)
    print("wildcard:", bool(sub_id))


async def breaker(circuit_breaker):
    async def call_service():
        return "answer"

    result = await circuit_breaker.execute("L04_model_gateway", call_service)
    state = await circuit_breaker.get_state("L04_model_gateway")
    print(f"Circuit state: {state.state.value}", result, state.get_error_rate())


async def requests(request_orchestrator):
    context = RequestContext.create()
    assert RequestContext.from_headers(context.to_headers()).trace_id == context.trace_id
    responses = await request_orchestrator.broadcast_request(
        service_names=["L02_runtime", "L03_tool_execution"], method="GET", path="/health"
    )
    print("broadcast:", {name: outcome["ok"] for name, outcome in responses.items()})


async def saga(saga_orchestrator):
    async def step1_action(context):
        return {"result": "step1_done"}

    async def step1_compensation(context):
        pass

    saga = SagaDefinition.create(
        saga_name="deploy_application",
        steps=[SagaStep(step_id="build", step_name="Build application", action=step1_action, compensation=step1_compensation)],
    )
    execution = await saga_orchestrator.execute_saga(saga)
    print(f"Saga status: {execution.status.value}", execution.context)


async def observability(observability):
    span = TraceSpan(span_name="execute_task", service_name="L11_integration")
    await observability.record_span(span)
    metric = Metric(metric_name="l11_request_duration_seconds", metric_type="histogram", value=0.123, labels={"service": "L02_runtime"})
    await observability.record_metric(metric)
    await observability.flush()
    spans = await observability.get_trace(trace_id=span.trace_id)
    print("trace:", [span.span_name for span in spans])


async def main():
    integration = IntegrationLayer(redis_url="redis://localhost:6379", observability_output_file="observability.log")
    await integration.start()
    await basic_usage(integration)
    await registry(integration.service_registry)
    await events(integration.event_bus)
    await breaker(integration.circuit_breaker)
    await requests(integration.request_orchestrator)
    await saga(integration.saga_orchestrator)
    await observability(integration.observability)
    health = await integration.health_check()
    print("healthy:", health["healthy"], integration.is_running())
    await integration.stop()


asyncio.run(main())
