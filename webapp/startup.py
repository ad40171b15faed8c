"""How a process says that a setting cannot work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from webapp.config import ConfigError
from webapp.encoding import one_line

# Gunicorn's code for an application that cannot be loaded: it ends, rather than start further processes.
NOT_LOADED = 4


@contextmanager
def refusing() -> Iterator[None]:
    """Around the making of the application, whose errors Celery's and gunicorn's commands show with a traceback."""
    try:
        yield
    except ConfigError as error:
        _say(error)
        sys.exit(NOT_LOADED)


def say_settings_in_one_line() -> None:
    """From now on a ConfigError that ends this process is its one line, without a traceback."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ConfigError):
            _say(error)
        else:
            before(kind, error, trace)

    sys.excepthook = hook


def _say(error: ConfigError) -> None:
    # Celery may have taken over `sys.stderr`.
    (sys.__stderr__ or sys.stderr).write(f"{one_line(str(error))}\n")
