"""The fields of a crontab: accepted values, with the same meaning as in Celery."""

from __future__ import annotations

import pytest
from celery.schedules import crontab as celery_crontab
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.recurrence import Crontab, Recurrence, RecurrenceError, validate_recurrence
from webapp.recurrence.fields import FIELD_NAMES, MONTHS, WEEKDAYS, parse_field

LIMITS = {"minute": (0, 59), "hour": (0, 23), "day_of_month": (1, 31), "month_of_year": (1, 12), "day_of_week": (0, 6)}
EXPECTED = "expected a minute (0 to 59), *, a range or a step such as */2"
EXPECTED_MONTH = "expected a month (1 to 12 or jan to dec), *, a range or a step such as */2"
FIRST_MONDAY = (
    "write 1-7 as the day of the month and mon as the day of the week: a day must match both. "
    "Celery ignores what follows the name and would run it every week"
)
FIFTH_FRIDAY = "write 29-31 as the day of the month and 5 as the day of the week: a day must match both"
NAMES = {"month_of_year": MONTHS, "day_of_week": WEEKDAYS}


@st.composite
def fields(draw: st.DrawFn) -> tuple[str, str]:
    """A field's name with a text for it: lists, ranges that may wrap around, steps, names long and short."""
    name = draw(st.sampled_from(FIELD_NAMES))
    value = st.integers(*LIMITS[name]).map(str)
    if name in NAMES:
        word = st.sampled_from(NAMES[name])
        value |= word | word.map(lambda full: f"{full}s") | st.sampled_from([f"{full[:3]}s" for full in NAMES[name]])
        value |= word.map(lambda full: full[:3]) | word.map(lambda full: full[:3].upper())
    spans = st.tuples(value, value).map("-".join)
    step = st.integers(1, 70).map(str)
    stepped = st.tuples(st.just("*") | spans, step).map("/".join)
    parts = draw(st.lists(st.just("*") | value | spans | stepped, min_size=1, max_size=4))
    return name, draw(st.sampled_from((",", ", "))).join(parts)


@settings(deadline=None)  # other programs on the machine are no failure of ours
@given(fields())
def test_generated_fields_mean_what_they_mean_to_celery(field: tuple[str, str]) -> None:
    name, text = field
    compact = text.replace(" ", "")
    assert set(parse_field(name, text)) == getattr(celery_crontab(**{name: compact}), name)
    assert list(parse_field(name, text)) == sorted(parse_field(name, text))


@given(st.sampled_from(FIELD_NAMES), st.text(alphabet="0123456789*,-/ monjafeb7x", max_size=9))
def test_whatever_is_accepted_is_accepted_by_celery_with_the_same_meaning(name: str, text: str) -> None:
    try:
        numbers = parse_field(name, text)
    except RecurrenceError as error:
        refusal = error
    else:
        assert set(numbers) == getattr(celery_crontab(**{name: text.replace(" ", "")}), name)
        return
    assert refusal.field == name
    assert "\n" not in str(refusal)


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ("60 * * * *", "minute", "60 is not a minute (0 to 59)"),
        ("* 24 * * *", "hour", "24 is not an hour (0 to 23)"),
        ("* * 0 * *", "day_of_month", "0 is not a day of the month (1 to 31)"),
        ("* * * 13 *", "month_of_year", "13 is not a month (1 to 12 or jan to dec)"),
        ("* * * * 7", "day_of_week", "7 is not a day of the week (0 to 6, Sunday is 0, or sun to sat)"),
        ("mon * * * *", "minute", "mon is not a minute (0 to 59)"),
        ("* * * * mon#1", "day_of_week", f"'mon#1' is not understood; {FIRST_MONDAY}"),
        ("* * * * 5#5", "day_of_week", f"'5#5' is not understood; {FIFTH_FRIDAY}"),
        ("* * * mon#1 *", "month_of_year", f"'mon#1' is not understood; {EXPECTED_MONTH}"),
        ("* * * * monkey", "day_of_week", "monkey is not a day of the week (0 to 6, Sunday is 0, or sun to sat)"),
        ("5/10 * * * *", "minute", "a step needs * or a range before it, such as 5-59/10"),
        ("*/0 * * * *", "minute", "a step is at least 1"),
        ("1-5-9 * * * *", "minute", f"'1-5-9' is not understood; {EXPECTED}"),
        ("1,,2 * * * *", "minute", f"a value is missing; {EXPECTED}"),
        ("* * * *", "crontab", "a crontab has five fields (minute, hour, day of month, month, day of week), not 4"),
        ("", "crontab", "a crontab has five fields (minute, hour, day of month, month, day of week), not 0"),
    ],
)  # fmt: skip
def test_it_refuses_a_line_with_the_field_at_fault_and_a_plain_message(line: str, field: str, message: str) -> None:
    with pytest.raises(RecurrenceError) as refused:
        Crontab.from_line(line)
    assert (refused.value.field, str(refused.value)) == (field, message)
    assert isinstance(refused.value, ValueError)


def test_from_line_reads_the_usual_order_and_line_writes_it() -> None:
    crontab = Crontab.from_line("  */5 9-17  1 jan mon-fri ")
    assert crontab == Crontab("*/5", "9-17", "1", "jan", "mon-fri")
    assert crontab.line == "*/5 9-17 1 jan mon-fri"


@pytest.mark.parametrize("line", ["0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 *", "* * 30,31 2 mon"])
def test_a_crontab_that_can_never_fire_is_refused(line: str) -> None:
    with pytest.raises(RecurrenceError, match="never fires") as refused:
        validate_recurrence(Recurrence(Crontab.from_line(line)))
    assert refused.value.field == "day_of_month"


@pytest.mark.parametrize("line", ["0 0 29 2 *", "0 0 29 2 mon", "0 0 31 1-12 *", "0 0 30,31 2,4 *"])
def test_a_crontab_that_fires_rarely_is_accepted(line: str) -> None:
    recurrence = Recurrence(Crontab.from_line(line))
    validate_recurrence(recurrence)
    assert recurrence.rule == Crontab.from_line(line)
