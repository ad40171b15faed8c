"""Tasks that say text which UTF-8 or PostgreSQL cannot hold, given to real workers by TASK_MODULES."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from celery import chord, shared_task
from celery.utils.log import get_task_logger

from beatdesk.execution.reporting import progress, write

logger = get_task_logger(__name__)

# As a file's name in Latin-1 comes, and a NUL.
ODD = os.fsdecode(b"caf\xe9\x00")


@shared_task(name="odd.echo")
def echo(value: Any) -> dict[str, Any]:
    """Say whether the argument came as it was sent, and give it."""
    logger.warning("line\n[2026-11-26 08:00:00,000: ERROR/MainProcess] forged\x1b[2J")
    return {"same": value == ODD, "value": value}


@shared_task(name="odd.named \udce9")
def named() -> None:
    """Has an odd name."""


@shared_task(name="odd.secret")
def secret(password: str, path: str) -> bool:
    """Fail the first time, repeating the secret; say the second time whether it came as it was sent."""
    if not Path(path).exists():
        Path(path).touch()
        raise ValueError(f"cannot sign in by {password}")
    return password == ODD


@shared_task(name="odd.join")
def join(values: list[dict[str, Any]]) -> list[Any]:
    """The values of some `odd.echo`."""
    return [value["value"] for value in values]


@shared_task(name="odd.fail", bind=True, max_retries=1)
def fail(self: Any, how: str) -> Any:
    """Fail with the text; after a retry succeed with it."""
    if how == "raise a class":
        raise type(f"Odd{ODD}", (Exception,), {})
    if how == "raise":
        raise ValueError(f"cannot read {ODD}")
    if not self.request.retries:
        raise self.retry(exc=ValueError(ODD), countdown=0)
    return {ODD: [ODD]}


@shared_task(name="odd.say", bind=True)
def say(self: Any, where: str) -> Any:
    """Say the text in one of the places that take text."""
    if where == "log":
        logger.warning("reading %s", ODD)
        logging.getLogger("other").warning("reading %s", ODD)
    elif where == "line":
        write(ODD, ODD)
    elif where == "progress":
        progress(1, 2, ODD)
    elif where == "send":
        echo.delay(ODD)
    elif where == "send by a name":
        self.app.send_task("odd.named \udce9")
    elif where == "chord":
        chord([echo.s(ODD), echo.s("plain")], join.s()).delay()
    return ODD
