"""The one error of recurrences."""

from __future__ import annotations


class RecurrenceError(ValueError):
    """A recurrence cannot work. `field` names what is at fault, so that a form can show the message at its place.

    Fields are those of the values (`minute`, `hour`, `day_of_month`, `month_of_year`, `day_of_week`, `every`, `period`,
    `event`, `latitude`, `longitude`, `at`, `timezone`, `start`, `end`, `max_runs`, `jitter`, `anchor`), `crontab` for a
    line that has not five fields, or `after` for the moment of a question. The message is one line and needs no field
    name before it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
