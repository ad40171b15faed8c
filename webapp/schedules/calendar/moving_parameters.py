"""Moves as forms, addresses and programs carry them: the very ones that were looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from webapp.schedules.calendar import moving
from webapp.schedules.calendar.moving import Move, MoveRequest, Target
from webapp.web.errors import Invalid


def move_text(schedule_id: int, version: int, target: Target) -> str:
    """Number, version, minute and, where it changes, hour: "7:3:25:4"."""
    parts = [schedule_id, version, target.minute]
    return ":".join(map(str, parts if target.hour is None else [*parts, target.hour]))


def planned_text(one: Move) -> str:
    """The same of a move that is proposed."""
    return move_text(one.schedule.id, one.schedule.row.version, one.target)


def moves_in(texts: Sequence[str]) -> list[MoveRequest]:
    """What these texts say. Raises Invalid."""
    found = []
    for text in texts[: moving.MAX_MOVES + 1]:
        if not is_move(text):
            example = "Send schedule ID, version, new minute and, if it changes, new hour, such as 7:3:25:4."
            raise Invalid({"moves": example})
        number, version, *target = map(int, text.split(":"))
        found.append((number, version, Target(*target)))
    if len(found) > moving.MAX_MOVES:
        raise Invalid({"moves": f"Move at most {moving.MAX_MOVES} schedules at a time."})
    return found


def only_moves(texts: Iterable[str]) -> list[str]:
    """The valid moves among texts of an address, to be offered in a form."""
    return [text for text in texts if is_move(text)][: moving.MAX_MOVES]


def is_move(text: str) -> bool:
    """Whether a text has the form of a move."""
    parts = text.split(":")
    return len(parts) in (3, 4) and all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts)
