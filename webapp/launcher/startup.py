"""Reports an invalid setting or an unavailable database in one line instead of a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import sqlalchemy as sa

from beatdesk.encoding import one_line
from webapp.config import ConfigError, unknown_settings, with_variables

# Gunicorn's exit code for an application that cannot be loaded: its master then ends too.
NOT_LOADED = 4


@contextmanager
def exit_on_config_error() -> Iterator[None]:
    """Around the building of the application, whose errors Celery and gunicorn would show with a traceback."""
    try:
        yield
    except ConfigError as error:
        _say(str(error))
        sys.exit(NOT_LOADED)


def report_errors_in_one_line() -> None:
    """Install a hook: a ConfigError, or a database that is not ready, ends this process with one line."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ConfigError):
            _say(str(error))
        elif isinstance(error, sa.exc.OperationalError | sa.exc.ProgrammingError) and _database_is_not_ready(error):
            _say(
                f"The database of DATABASE_URL is not ready: {error.orig}. Start `make run`, or migrate it with "
                "`flask --app wsgi db upgrade`."
            )
        else:
            before(kind, error, trace)

    sys.excepthook = hook


def report_unknown_settings() -> None:
    """Print a line for each variable that may be a mistyped setting."""
    for line in unknown_settings(os.environ):
        _say(line)


def _database_is_not_ready(error: sa.exc.DBAPIError) -> bool:
    """Whether the database does not answer or lacks a table; other errors are bugs, which need a traceback."""
    lacks = type(error.orig).__name__ in ("UndefinedTable", "UndefinedColumn") or "no such " in str(error.orig)
    # Without a statement the connection failed.
    return lacks or error.connection_invalidated or error.statement is None


def _say(line: str) -> None:
    # Celery may have replaced `sys.stderr`.
    (sys.__stderr__ or sys.stderr).write(f"{one_line(with_variables(line, os.environ))}\n")
