"""Runs as new rows, whoever makes them: pages, tasks, and what pauses a schedule that keeps failing. No Flask here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from webapp.database.engine import now
from webapp.run_store.ids import new_id
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.secrecy.masking import conceal
from webapp.task_catalogue.registry import rule_for


def new_run(
    task: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    origin: Origin,
    created_by: int | None = None,
    queue: str | None = None,
    priority: int | None = None,
    eta: datetime | None = None,
    expires_at: datetime | None = None,
    retry_of: str | None = None,
    parent_id: str | None = None,
    root_id: str | None = None,
) -> Run:
    """A run that is in no session yet; it is queued, or held where `eta` is in the future.

    Secret arguments are kept sealed, and masked in what is shown.
    """
    held = eta is not None and eta > now()
    call = conceal(rule_for(task), args, kwargs or {})
    return Run(
        id=new_id(),
        task=task,
        args=json.dumps(call.args),
        kwargs=json.dumps(call.kwargs),
        sealed=call.sealed(),
        state=RunState.HELD if held else RunState.QUEUED,
        origin=origin,
        created_by=created_by,
        queue=queue,
        priority=priority,
        eta=eta,
        expires_at=expires_at,
        retry_of=retry_of,
        parent_id=parent_id,
        root_id=root_id,
    )
