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
  CASE WHEN n % 5 = 0 THEN 1 + n % 100000 END, CASE WHEN n % 5 = 0 THEN 'schedule ' || (1 + n % 100000) END,
  CASE WHEN n % 5 = 0 THEN 1 END, CASE WHEN n % 5 = 0 THEN {at} END, {at}, {at}, {at}, {at}, {later},
  0, 1, 1, 'worker' || (n % 8) || '@host' || (n % 3), (n % 186) || '',
  CASE WHEN n % 1000 BETWEEN 950 AND 979 THEN 'ValueError: order ' || n || ' has no lines' END,
  CASE WHEN n % 1000 BETWEEN 950 AND 979 THEN 'Traceback (most recent call last): …' END, NULL
"""
_SCHEDULE = """
INSERT INTO celery_periodictask (name, task, args, kwargs, headers, one_off, enabled, total_run_count, priority,
  description, discriminator, schedule_id, date_changed)
"""


def fill(engine: sa.Engine, runs: int, schedules: int) -> None:
    """Insert that many; the newest run is of this moment."""
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
    step = 30 * 86400 / max(runs, 1)
    with engine.begin() as connection:
        if not sqlite:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        if sqlite:
            statement = _COLUMNS + numbers + _VALUES.format(id=made, task=task, at=at, later=later) + source
        else:
            # The driver reads a single % as the beginning of a parameter.
            statement = _COLUMNS + _VALUES.format(id=made, task=task, at=at, later=later).replace("%", "%%") + source
        connection.exec_driver_sql(statement.replace("{count}", str(runs)).replace("{step}", f"{step:.6f}"))
    _schedules(engine, schedules, numbers, source)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if sqlite else "VACUUM ANALYZE")


def _schedules(engine: sa.Engine, count: int, numbers: str, source: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO celery_intervalschedule (id, every, period) VALUES (9000, 1, 'days')")
        on = "1" if engine.dialect.name == "sqlite" else "true"
        off = "0" if engine.dialect.name == "sqlite" else "false"
        values = (
            f"SELECT 'schedule ' || n, 'add', '[1, 2]', '{{}}', '{{}}', {off}, {on}, 0, NULL, '', "
            "'intervalschedule', 9000, CURRENT_TIMESTAMP"
        )
        connection.exec_driver_sql((_SCHEDULE + numbers + values + source).replace("{count}", str(count)))
