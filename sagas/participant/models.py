"""The barrier rows: which action and which undo of which step this layer has seen."""

from __future__ import annotations

from django.db import models


class SagaBarrier(models.Model):
    """One call of a step, written in the transaction of its business change.

    `origin` is "undo" where the undo came first and closed the door for the action.
    """

    execution_id = models.CharField(max_length=64)
    step_id = models.CharField(max_length=64)
    direction = models.CharField(max_length=4, choices=[("do", "do"), ("undo", "undo")])
    origin = models.CharField(max_length=4, choices=[("do", "do"), ("undo", "undo")])
    output = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["execution_id", "step_id", "direction"], name="saga_barrier_unique"),
            models.CheckConstraint(condition=models.Q(direction__in=["do", "undo"]), name="saga_barrier_direction_known"),
        ]
        # pruning
        indexes = [models.Index(fields=["created_at"], name="saga_barrier_age")]

    def __str__(self) -> str:
        return f"{self.execution_id} {self.step_id} {self.direction}"
