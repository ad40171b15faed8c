"""Another project's Celery app, adopted, whose tasks have parameters and routes.

`celery -A tests.adoption.announcing_shop worker`; as a client that sends, `python -m tests.adoption.announcing_shop`.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Literal

from celery import Celery

import beatdesk

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
beatdesk.adopt(app)
app.conf.task_routes = {"shop.ship": {"queue": "ships"}}
app.conf.broker_connection_retry_on_startup = True


@app.task(name="shop.ship", secrets=("iban",), time_limit=300)
def ship(order: int, by: Literal["air", "sea"] = "sea", *, day: date | None = None, iban: str = "") -> None:
    """Ship an order.

    Args:
        order: Its number.
    """
    with Path(os.environ["SHOP_LEDGER"]).open("a") as ledger:
        ledger.write(f"{order} by {by} on {day} {len(iban)}\n")


if __name__ == "__main__":
    ship.delay(7, iban="DE89370400440532013000")
