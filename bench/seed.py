"""Fills a migrated database with many runs and schedules, by SQL, for measurements of pages."""

from __future__ import annotations

import sqlalchemy as sa

TASKS = ("add", "send_mail", "reports.build", "imports.fetch_orders", "cleanup")

# One million runs over 30 days: 95 % succeeded, 3 % failed, the rest spread; one in five caused by a schedule.
_COLUMNS = """
INSERT INTO runs (id, task, args, kwargs, queue, state, reason, origin, schedule_id, schedule_name, schedule_version,
  due_at, created_at, sent_at, received_at, started_at, ended_at, attempt, claims, sends, worker, result, error,
  traceback, retry_of)
"""
_VALUES = """
SELECT {id}, {task}, '[' || (n % 97) || ', ' || (n % 89) || ']',
  '{{"user": ' || (n % 5000) || ', "note": "order ' || n || ' of the shop"}}',
  CASE WHEN n % 7 = 0 THEN 'mail' END,
  CASE WHEN n % 1000 < 950 THEN 'succeeded' WHEN n % 1000 < 980 THEN 'failed' WHEN n % 1000 < 985 THEN 'revoked'
    WHEN n % 1000 < 988 THEN 'missed' WHEN n % 1000 < 991 THEN 'skipped' WHEN n % 1000 < 993 THEN 'expired'
    WHEN n % 1000 < 995 THEN 'held' WHEN n % 1000 < 998 THEN 'queued' WHEN n % 1000 = 998 THEN 'started'
    ELSE 'retrying' END,
  NULL, CASE WHEN n % 5 = 0 THEN 'schedule' ELSE 'launch' END,
  CASE WHEN n % 5 = 0 THEN {schedule} END, CASE WHEN n % 5 = 0 THEN 'schedule ' || ({schedule}) END,
  CASE WHEN n % 5 = 0 THEN 1 END, CASE WHEN n % 5 = 0 THEN {at} END, {at}, {at}, {at}, {at}, {later},
  0, 1, 1, 'worker' || (n % 8) || '@host' || (n % 3), (n % 186) || '',
  CASE WHEN n % 1000 BETWEEN 950 AND 979 THEN 'ValueError: order ' || n || ' has no lines' END,
  CASE WHEN n % 1000 BETWEEN 950 AND 979 THEN 'Traceback (most recent call last): …' END, NULL
"""
# Some schedules run a hundred times as often as the others; they come first in the list, by name.
_OF_SCHEDULE = "CASE WHEN n % 10 = 0 THEN 10000 + (n / 10) % 1000 ELSE 1 + n % 100000 END"
_SCHEDULE = """
INSERT INTO celery_periodictask (name, task, args, kwargs, headers, one_off, enabled, total_run_count, priority,
  description, discriminator, schedule_id, date_changed)
SELECT 'schedule ' || n, {task}, '[1, 2]', '{{}}', '{{}}', {off}, CASE WHEN n % 20 = 0 THEN {off} ELSE {on} END, 0,
  NULL,
  'Keeps the figures of branch ' || (n % 1000) || ' as the office reads them.',
  CASE n % 5 WHEN 0 THEN 'crontabschedule' ELSE 'intervalschedule' END, 9000, CURRENT_TIMESTAMP
"""
# Every hundredth is paused, every thousandth broken; one in ten comes from code; each has a tag, some have two; none
# was edited within the last hour.
_DETAILS = """
UPDATE schedule_details SET
  owner = CASE WHEN schedule_id % 10 = 0 THEN 'code' ELSE 'admin' END,
  tags = CASE WHEN schedule_id % 7 = 0 THEN '["branch ' || (schedule_id % 50) || '", "nightly"]'
    ELSE '["branch ' || (schedule_id % 50) || '"]' END,
  paused_at = CASE WHEN schedule_id % 100 = 3 THEN CURRENT_TIMESTAMP END,
  changed_at = {edited}
"""
_PROGRESS = """
INSERT INTO schedule_progress (schedule_id, last_due_at, next_due_at, runs, broken, revision)
SELECT n, CASE WHEN n % 3 <> 0 THEN {past} END,
  CASE WHEN n % 20 <> 0 AND n % 1000 <> 7 THEN {future} END, n % 9,
  CASE WHEN n % 1000 = 7 THEN 'There is no registered task “gone”.' END, 1
"""
_PERSON = """
INSERT INTO users (email, name, password, active, fs_uniquifier, timezone, wants_birthday_mail, created_at)
SELECT 'person' || n || '@example.org', 'Person ' || n || ' of the Valley', '!', {on}, 'seed-' || n, 'UTC', {on},
  CURRENT_TIMESTAMP
"""
_AUDIT = """
INSERT INTO audit (at, actor, action, object_type, object_id, object_name, address)
SELECT CURRENT_TIMESTAMP, 'Person ' || (n % 500) || ' <person' || (n % 500) || '@example.org>', 'schedule.update',
  'schedule', n || '', 'schedule ' || n, '127.0.0.1'
"""


def fill(engine: sa.Engine, runs: int, schedules: int) -> None:
    """Insert these numbers of rows; the newest run is of this moment."""
    sqlite = engine.dialect.name == "sqlite"
    task = f"CASE n % {len(TASKS)} " + " ".join(f"WHEN {i} THEN '{name}'" for i, name in enumerate(TASKS)) + " END"
    if sqlite:
        numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
        source, moment = " FROM numbers", "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ({ago}) || ' seconds') || '000'"
        part = "lower(hex(randomblob({})))".format
        made = " || '-' || ".join(
            (part(4), part(2), f"'4' || substr({part(2)}, 2)", f"'a' || substr({part(2)}, 2)", part(6))
        )
    else:
        numbers, source = "", " FROM generate_series(1, {count}) AS numbers(n)"
        moment = "now() - ({ago}) * interval '1 second'"
        made = "gen_random_uuid()::text"
    at = moment.replace("{ago}", "({count} - n) * {step}")
    later = moment.replace("{ago}", "({count} - n) * {step} - n % 40")
    values = _VALUES.format(id=made, task=task, at=at, later=later, schedule=_OF_SCHEDULE)
    step = 30 * 86400 / max(runs, 1)
    with engine.begin() as connection:
        if not sqlite:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        # The driver of PostgreSQL reads a single % as the beginning of a parameter.
        statement = _COLUMNS + numbers + (values if sqlite else values.replace("%", "%%")) + source
        connection.exec_driver_sql(statement.replace("{count}", str(runs)).replace("{step}", f"{step:.6f}"))
    words = {
        "task": task,
        "on": "1" if sqlite else "true",
        "off": "0" if sqlite else "false",
        "edited": moment.replace("{ago}", "3600 + schedule_id % 86400"),
        "past": moment.replace("{ago}", "n % 86400"),
        "future": moment.replace("'-' ||", "'+' ||").replace("now() -", "now() +").replace("{ago}", "60 + n % 86400"),
    }
    _schedules(engine, schedules, numbers, source, words)
    if not sqlite:
        # As autovacuum does; SQLite has no statistics in production either.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def _schedules(engine: sa.Engine, count: int, numbers: str, source: str, words: dict[str, str]) -> None:
    """Insert `count` schedules, people and rows of the audit."""
    with engine.begin() as connection:
        if engine.dialect.name != "sqlite":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("INSERT INTO celery_intervalschedule (id, every, period) VALUES (9000, 1, 'days')")
        connection.exec_driver_sql(
            "INSERT INTO celery_crontabschedule (id, minute, hour, day_of_week, day_of_month, month_of_year, timezone) "
            "VALUES (9000, '30', '2', '*', '*', '*', 'Europe/Berlin')"
        )
        for template in (_SCHEDULE, _DETAILS, _PROGRESS, _PERSON, _AUDIT):
            head, select, values = template.format(**words).partition("SELECT")
            statement = f"{head}{numbers}{select}{values}{source}".replace("{count}", str(count)) if select else head
            connection.exec_driver_sql(statement if numbers else statement.replace("%", "%%"))
