"""Tasks with typed arguments, for the checks of a call."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from celery import shared_task


class Size(Enum):
    """Something to choose."""

    SMALL = "s"
    LARGE = "l"


@shared_task(name="typed.all")
def typed(  # type: ignore[no-untyped-def]  # noqa: PLR0917  # the type of one is to be guessed
    count: int = 1,
    ratio: float = 0.5,
    text: str = "",
    on: bool = False,
    day: date | None = None,
    moment: datetime | None = None,
    clock: time | None = None,
    price: Decimal | None = None,
    key: UUID | None = None,
    size: Size = Size.SMALL,
    mode: Literal["fast", 2] = "fast",
    numbers: Sequence[int] = (),
    by_name: dict[str, float] | None = None,
    either: int | str = 1,
    days: list[date] | None = None,
    guessed=3,
    anything: Any = None,
) -> None:
    """Do nothing."""


@shared_task(name="typed.free")
def free(*args: Any, **kwargs: Any) -> None:
    """Take anything."""


@shared_task(name="typed.rest")
def rest(*numbers: int, **texts: str) -> None:
    """Do nothing."""
