"""The five fields of a crontab in plain English.

The words are made from the numbers of a field, so that `*/2` and the equivalent list read the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, product

from webapp.recurrence.fields import MONTHS, WEEKDAYS, parse_field
from webapp.recurrence.values import Crontab

_HOURS_A_DAY, _MINUTES_AN_HOUR = 24, 60
_DAYS_A_MONTH = 31
_DAYS_A_WEEK, _FIFTH_WEEK = 7, 29
_ORDINALS = ("first", "second", "third", "fourth")
# February's length varies, so its last Sunday cannot be given by days.
_MONTH_LENGTHS = (31, 0, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MAX_TIMES = 6  # more clock times are not readable at a glance
_MONDAY_FIRST = (1, 2, 3, 4, 5, 6, 0)


# Many schedules of a list have the same crontab.
@lru_cache(maxsize=4096)
def crontab_words(crontab: Crontab) -> str:
    """Return the words for a crontab without its zone. Raises RecurrenceError for a field that cannot be read."""
    times = _time_words(parse_field("minute", crontab.minute), parse_field("hour", crontab.hour))
    days = _day_words(
        parse_field("day_of_month", crontab.day_of_month),
        parse_field("month_of_year", crontab.month_of_year),
        parse_field("day_of_week", crontab.day_of_week),
    )
    if times.startswith("at "):
        # Clock times need a day beside them: "every day at 08:00", "Monday to Friday at 08:00".
        day = "every day" if not days or days.startswith("in ") else ""
        return " ".join(part for part in (day, f"{days}," if " if " in days else days, times) if part)
    return ", ".join(part for part in (times, days) if part)


def field_words(name: str, text: str) -> str:
    """Return the words for one of the five fields. Raises RecurrenceError when it cannot be read."""
    numbers = parse_field(name, text)
    every = {"minute": 60, "hour": 24, "day_of_month": _DAYS_A_MONTH, "month_of_year": len(MONTHS), "day_of_week": 7}
    if len(numbers) == every[name]:
        return f"every {name.partition('_')[0]}"
    if name == "day_of_week":
        return _weekday_words(numbers)
    if name == "month_of_year":
        return _month_words(numbers)
    return join_words(_runs([str(number) for number in numbers], numbers))


def join_words(words: Sequence[str], last: str = " and") -> str:
    """Join words as English does: `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])}{last} {words[-1]}"


def _time_words(minutes: Sequence[int], hours: Sequence[int]) -> str:
    if len(minutes) * len(hours) <= _MAX_TIMES and not _is_every_hour(hours):
        return "at " + join_words([f"{hour:02}:{minute:02}" for hour, minute in product(hours, minutes)])
    step = _step(minutes)
    if len(minutes) == 1:
        return _one_minute_words(minutes[0], hours)
    if step is not None and minutes[0] == 0 and _fills(minutes, step, _MINUTES_AN_HOUR):
        rhythm = "every minute" if step == 1 else f"every {step} minutes"
        return rhythm + _hour_words(hours)
    names = f"{join_words(_runs([str(minute) for minute in minutes], minutes))} minutes past"
    return f"every hour, at {names}" if _is_every_hour(hours) else f"hourly at {names}{_hour_words(hours)}"


def _one_minute_words(minute: int, hours: Sequence[int]) -> str:
    past = "on the hour" if minute == 0 else f"at {minute} {'minute' if minute == 1 else 'minutes'} past"
    if _is_every_hour(hours):
        return f"every hour, {past}"
    step = _step(hours)
    if step is not None:
        rhythm = "every hour" if step == 1 else f"every {step} hours"
        whole_day = hours[0] < step and _fills(hours, step, _HOURS_A_DAY) and _HOURS_A_DAY % step == 0
        if whole_day and hours[0] == 0 and minute == 0:
            return f"{rhythm}, on the hour"
        return f"{rhythm} from {hours[0]:02}:{minute:02} to {hours[-1]:02}:{minute:02}"
    return "at " + join_words([f"{hour:02}:{minute:02}" for hour in hours])


def _hour_words(hours: Sequence[int]) -> str:
    if _is_every_hour(hours):
        return ""
    ranges = number_ranges(hours)
    if all(first == last for first, last in ranges) and len(ranges) > 2:
        return f", in the hours {join_words([f'{hour:02}' for hour in hours])}"
    return ", " + join_words([f"from {first:02}:00 to {last:02}:59" for first, last in ranges])


def _day_words(days: Sequence[int], months: Sequence[int], weekdays: Sequence[int]) -> str:
    month = "" if len(months) == len(MONTHS) else _month_words(months)
    every_day_of_week = len(weekdays) == len(WEEKDAYS)
    if len(days) == _DAYS_A_MONTH:
        in_month = f"in {month}" if month else ""
        return in_month if every_day_of_week else f"{_weekday_words(weekdays)} {in_month}".strip()
    if nth := _nth_weekday_words(days, months, weekdays):
        return f"{nth} of {month or 'the month'}"
    names = join_words(_runs([str(day) for day in days], days))
    of_month = f"on day{'s' if len(days) > 1 else ''} {names} of {month or 'the month'}"
    return of_month if every_day_of_week else f"{of_month}, if it is {_weekday_words(weekdays, last=' or')}"


def _nth_weekday_words(days: Sequence[int], months: Sequence[int], weekdays: Sequence[int]) -> str:
    """`on the last Sunday`, where seven days in a row and one day of the week mean that; otherwise empty."""
    if len(weekdays) != 1 or len(days) != _DAYS_A_WEEK or _step(days) != 1:
        return ""
    lengths = {_MONTH_LENGTHS[month - 1] for month in months}
    which = _ORDINALS[days[0] // _DAYS_A_WEEK] if days[0] % _DAYS_A_WEEK == 1 and days[0] < _FIFTH_WEEK else ""
    if lengths == {days[-1]}:
        which = "last"
    return f"on the {which} {WEEKDAYS[weekdays[0]].capitalize()}" if which else ""


def _weekday_words(weekdays: Sequence[int], last: str = " and") -> str:
    # Weeks are read from Monday, so that a weekend is "Saturday and Sunday".
    positions = sorted(_MONDAY_FIRST.index(day) for day in weekdays)
    names = [WEEKDAYS[_MONDAY_FIRST[position]].capitalize() for position in positions]
    return join_words(_runs(names, positions), last)


def _month_words(months: Sequence[int]) -> str:
    return join_words(_runs([MONTHS[month - 1].capitalize() for month in months], months))


def _runs(names: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """Write three or more neighbours as `first to last`, and a long row of even steps by its beginning and end."""
    step = _step(numbers)
    if step is not None and step > 1 and len(numbers) > _MAX_TIMES:
        return [*names[:3], f"so on up to {names[-1]}"]
    at = dict(zip(numbers, names, strict=True))
    words = []
    for first, last in number_ranges(numbers):
        if last - first >= 2:
            words.append(f"{at[first]} to {at[last]}")
        else:
            words.extend(at[number] for number in range(first, last + 1))
    return words


def number_ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The first and last of each unbroken row of ascending numbers: (1, 3) and (5, 5) of 1, 2, 3, 5."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _step(numbers: Sequence[int]) -> int | None:
    """Return the one distance between neighbours, if there are at least two numbers and only one distance."""
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    return steps.pop() if len(steps) == 1 else None


def _fills(numbers: Sequence[int], step: int, size: int) -> bool:
    """Whether the steps continue evenly from one hour or day to the next; `size` is the length of the hour or day."""
    return numbers[0] + size - numbers[-1] == step


def _is_every_hour(hours: Sequence[int]) -> bool:
    return len(hours) == _HOURS_A_DAY
