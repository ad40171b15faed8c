"""Crontabs as found on real machines: user columns, tabs, day 7, and lines that are not entries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from webapp.schedules.sources.crontab_file import from_crontab
from webapp.schedules.sources.formats import ImportOptions, guess, read
from webapp.schedules.sources.given import Given
from webapp.schedules.validation import examine
from webapp.web.errors import Invalid

pytestmark = pytest.mark.usefixtures("registered_tasks")

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SYSTEM = (
    "# a table for the whole machine, with a user\n"
    "SHELL=/bin/sh\n\n"
    "17 *\t* * *\troot    cd / && run-parts /etc/hourly\n"
    "47 6\t* * 7\troot\ttest -x /usr/sbin/anacron\n"
    "*/5 * * * * deploy /usr/bin/python /home/u/logger.py > /dev/null\n"
)


def when(fields: str) -> Given:
    return from_crontab(f"{fields} add 1 2", "UTC", {})[0]


def test_user_column_of_system_wide_table_is_left_out_and_reported() -> None:
    assert guess(SYSTEM) == "crontab"
    found = from_crontab(SYSTEM, "UTC", {"": "people.send_birthday_emails"})
    assert [(one.name, one.fields["crontab"]) for one in found] == [
        ("cd / && run-parts /etc/hourly", "17 * * * *"),
        ("test -x /usr/sbin/anacron", "47 6 * * 0"),
        ("/usr/bin/python /home/u/logger.py > /dev/null", "*/5 * * * *"),
    ]
    users = [next(note for note in one.notes if "user column" in note) for one in found]
    assert [note.split("”")[0] for note in users] == ["“root", "“root", "“deploy"]
    assert all(examine(one.fields, NOW).definition for one in found)


def test_a_table_of_one_person_keeps_its_commands_whole() -> None:
    found = from_crontab("0 5 * * * python /a.py\n0 6 * * * nginx -s reload\n", "UTC", {"": "add"})
    assert [one.name for one in found] == ["python /a.py", "nginx -s reload"]
    assert not any("user column" in note for one in found for note in one.notes)


@pytest.mark.parametrize(
    ("cron", "celery", "said"),
    [
        ("0 5 * * 7", "0 5 * * 0", "Sunday is 0"),
        ("0 5 * * 5-7", "0 5 * * 0,5,6", "Sunday is 0"),
        ("0 5 * * fri-7/2", "0 5 * * 0,5", "Sunday is 0"),
        ("0 5 * * 0-7", "0 5 * * 0-6", "Sunday is 0"),
        ("0 5 * * mon,7", "0 5 * * mon,0", "Sunday is 0"),
        ("0 5 * * 6-0", "0 5 * * 6-0", "wrapping around"),
        ("30 23-2 * * *", "30 23-2 * * *", "wrapping around"),
        ("5/15 * * * *", "5-59/15 * * * *", "newer crons"),
        ("0 5 * JAN,jul Mon-Fri", "0 5 * JAN,jul Mon-Fri", ""),
        ("*/45 * * * *", "*/45 * * * *", "“*/45” begins again with each hour: 0, 45."),
        ("0 0 * */5 *", "0 0 * */5 *", "begins again with each year: 1, 6, 11."),
        ("0 0 * * */2", "0 0 * * */2", "begins again with each week: 0, 2, 4, 6."),
        ("*/20 */6 * * *", "*/20 */6 * * *", ""),
        ("0 0 */2 * 1", "0 0 */2 * 1", "on days that match both */2 and 1"),
        ("0\t5\t*\t*\t1", "0 5 * * 1", ""),
        ("@DAILY", "@daily", ""),
    ],
)
def test_fields_mean_the_same_as_in_cron_and_differences_are_reported(cron: str, celery: str, said: str) -> None:
    found = when(cron)
    assert found.fields["crontab"] == celery
    assert said in " ".join(found.notes)
    assert bool(found.notes) is bool(said)
    assert examine(found.fields, NOW).definition is not None


@pytest.mark.parametrize(
    ("fields", "count"), [("*/5 * * * * *", 6), ("0 0 12 * * ?", 6), ("0 0 12 ? * MON-FRI 2027", 7)]
)
def test_it_rejects_six_and_seven_field_cron_expressions(fields: str, count: int) -> None:
    with pytest.raises(Invalid, match=f"This line has {count} fields; a crontab has five"):
        from_crontab(f"{fields} /srv/every", "UTC", {"": "add"})


def test_a_line_that_is_none_refuses_itself_only() -> None:
    text = (
        "\ufeff0 5 * * * add 1 2\nnonsense here\n0 0 5 * * * add 1 2\n61 5 * * * add 3 4\n"
        "CRON_TZ=Asia/Tokyo\n1 1 * * * add\t5 6\n"
    )
    assert guess(text.removeprefix("\ufeff")) == "crontab"
    found = read(text, ImportOptions(timezone="UTC"), NOW)
    assert [(one.line, bool(one.error)) for one in found] == [(1, False), (2, True), (3, True), (4, False), (6, False)]
    assert "Use five fields and a command" in str(found[1].error)
    assert "minute" in str(examine(found[3].fields, NOW).errors)
    assert (found[4].fields["timezone"], found[4].fields["args"]) == ("Asia/Tokyo", [5, 6])
