"""The shop's ledger, a table."""

from __future__ import annotations

from django.db import models


class Execution(models.Model):
    """One execution of a task."""

    call = models.CharField(max_length=200)
    task_id = models.CharField(max_length=200)

    class Meta:
        """Named as the harness reads it."""

        db_table = "executions"
        app_label = "django_shop"

    def __str__(self) -> str:
        return f"{self.call} {self.task_id}"
