"""The API: an order is placed by a task, and its mail is sent by another one."""

from __future__ import annotations

from fastapi import FastAPI

from tests.adoption.projects.fastapi_shop.tasks import order, record

api = FastAPI()


@api.post("/orders/{call}")
def place(call: str) -> dict[str, str]:
    """Accept an order."""
    sent = order.apply_async([call], link=record.si(f"mail-{call}"))
    return {"id": str(sent.id)}
