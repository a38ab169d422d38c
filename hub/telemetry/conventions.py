"""Names of span attributes, in one place (OpenTelemetry semantic conventions 1.45; ours begin with ``hub.``)."""

from __future__ import annotations

MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_MESSAGE_ID = "messaging.message.id"
MESSAGING_CONVERSATION_ID = "messaging.message.conversation_id"

HTTP_METHOD = "http.request.method"
HTTP_STATUS = "http.response.status_code"
HTTP_RESEND_COUNT = "http.request.resend_count"
URL_FULL = "url.full"
URL_PATH = "url.path"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

EVENT_ID = "cloudevents.event_id"
EVENT_SOURCE = "cloudevents.event_source"
EVENT_TYPE = "cloudevents.event_type"
EVENT_TOPIC = "hub.event.topic"

TASK_NAME = "hub.task.name"
TASK_RETRIES = "hub.task.retries"
CORRELATION_ID = "hub.correlation_id"
KEEP = "hub.keep"
"""Set on a span whose trace must survive thinning out: compensated, or rescued by a sweeper."""
