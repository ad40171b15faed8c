"""The one error of recurrences."""

from __future__ import annotations


class RecurrenceError(ValueError):
    """A recurrence that cannot work. `field` names the field at fault, so that a form can show the message there.

    Fields are those of the values (`minute`, `hour`, `day_of_month`, `month_of_year`, `day_of_week`, `every`, `period`,
    `event`, `latitude`, `longitude`, `at`, `timezone`, `start`, `end`, `max_runs`, `jitter`, `anchor`), `crontab` for a
    line without five fields, or `after` for an argument of `due_times`. The message is one line, without the field's
    name.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
