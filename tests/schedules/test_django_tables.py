"""Tables of django-celery-beat as its versions made them; those of today's are imported in `tests/adoption`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from flask import Flask

from webapp.extensions import db
from webapp.schedules.sources.database import from_database
from webapp.web.errors import Invalid

pytestmark = pytest.mark.each_database
NOW = datetime(2026, 3, 1, tzinfo=UTC)
# The columns of version 1.1: no rules but these two, no zones, no priorities.
FIRST = (
    "CREATE TABLE django_celery_beat_intervalschedule (id INTEGER PRIMARY KEY, every INTEGER, period VARCHAR(24))",
    (
        "CREATE TABLE django_celery_beat_crontabschedule (id INTEGER PRIMARY KEY, minute VARCHAR(64), hour VARCHAR(64),"
        " day_of_week VARCHAR(64), day_of_month VARCHAR(64), month_of_year VARCHAR(64))"
    ),
    (
        "CREATE TABLE django_celery_beat_periodictask (id INTEGER PRIMARY KEY, name VARCHAR(200), task VARCHAR(200),"
        " args TEXT, kwargs TEXT, queue VARCHAR(200), exchange VARCHAR(200), routing_key VARCHAR(200),"
        " expires TIMESTAMP, enabled BOOLEAN, last_run_at TIMESTAMP, total_run_count INTEGER, date_changed TIMESTAMP,"
        " description TEXT, crontab_id INTEGER, interval_id INTEGER)"
    ),
    "INSERT INTO django_celery_beat_intervalschedule VALUES (1, 10, 'minutes')",
    "INSERT INTO django_celery_beat_crontabschedule VALUES (1, '0', '3', '*', '*', '*')",
)
TASK = (
    "INSERT INTO django_celery_beat_periodictask (id, name, task, args, kwargs, enabled, last_run_at, total_run_count,"
    " description, expires, crontab_id, interval_id) VALUES (:id, :name, 'add', '[1, 2]', '{}', :on, :last, 0, '',"
    " :expires, :crontab, :interval)"
)


@pytest.fixture
def url(context: Flask) -> Iterator[str]:
    """The application's own database, with those tables in it too."""
    with db.engine.begin() as connection:
        for statement in FIRST:
            connection.execute(sa.text(statement))
    yield context.config["SQLALCHEMY_DATABASE_URI"]
    db.session.remove()
    with db.engine.begin() as connection:
        for name in ("intervalschedule", "crontabschedule", "periodictask"):
            connection.execute(sa.text(f"DROP TABLE django_celery_beat_{name}"))


def add(**values: object) -> None:
    """A row of the table of tasks."""
    with db.engine.begin() as connection:
        empty = {"on": True, "last": None, "expires": None, "crontab": None, "interval": None}
        connection.execute(sa.text(TASK), empty | values)


def test_tables_of_the_first_version(url: str) -> None:
    add(id=1, name="nightly", crontab=1, expires="2027-01-01 12:00:00")
    add(id=2, name="often", interval=1, last="2026-02-28 10:03:07", on=False)
    nightly, often = from_database(url, NOW, "Europe/Vienna")
    assert (nightly.fields["crontab"], nightly.fields["timezone"]) == ("0 3 * * *", "Europe/Vienna")
    assert nightly.fields["end"].isoformat() == "2027-01-01T12:00:00+01:00"
    assert nightly.notes == [
        "2027-01-01 12:00:00 names no time zone: Europe/Vienna is used.",
        "Its crontab names no time zone: Europe/Vienna is used.",
    ]
    assert (often.fields["every"], often.fields["period"], often.fields["enabled"]) == (10, "minutes", False)
    assert often.anchor is not None
    assert often.anchor.isoformat() == "2026-02-28T10:03:07+01:00"


def test_rows_without_their_rule_are_refused_alone(url: str) -> None:
    add(id=1, name="a", crontab=7)
    add(id=2, name="b")
    add(id=3, name="c", crontab=1, interval=1)
    add(id=4, name="d", interval=1)
    assert [one.error for one in from_database(url, NOW)] == [
        "The row of its schedule is missing.",
        "It refers to no schedule or to several.",
        "It refers to no schedule or to several.",
        None,
    ]


def test_a_table_that_lacks_a_needed_column_is_refused(url: str) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE django_celery_beat_periodictask RENAME COLUMN crontab_id TO other"))
    with pytest.raises(Invalid, match="has no crontab_id"):
        from_database(url, NOW)


def test_the_url_of_a_django_project_names_no_driver_of_ours(url: str) -> None:
    add(id=4, name="d", interval=1)
    theirs = url.replace("postgresql+psycopg://", "postgres://")
    assert [one.name for one in from_database(theirs, NOW)] == ["d"]
