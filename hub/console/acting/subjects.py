"""All kinds of things that operators act on."""

from __future__ import annotations

from collections.abc import Mapping

from hub.console.acting.shape import Subject
from hub.console.bulk.actions import BATCH
from hub.console.circuits.actions import CIRCUIT
from hub.console.deadletters.actions import CAUSE, LETTER
from hub.console.queues.actions import QUEUE
from hub.console.saga.actions import SAGA
from hub.console.services.actions import SERVICE
from hub.console.subscriptions.actions import SUBSCRIPTION

SUBJECTS: Mapping[str, Subject] = {subject.name: subject for subject in (SAGA, SERVICE, CIRCUIT, LETTER, CAUSE, QUEUE, SUBSCRIPTION, BATCH)}
