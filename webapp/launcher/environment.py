"""The environment of each process of `make run`, which has only the secrets that the process needs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

from webapp.config import PREFIX, given_settings, variable

# By plain names. Other known processes do not get these settings, under neither of their names; a process with an
# unknown name gets all but ADMIN_PASSWORD.
NEEDED_BY: Mapping[str, frozenset[str]] = {
    "ADMIN_PASSWORD": frozenset({"release"}),
    "MAIL_USERNAME": frozenset({"worker"}),
    "MAIL_PASSWORD": frozenset({"worker"}),
    "METRICS_TOKEN": frozenset({"web"}),
    "REDIS_URL": frozenset({"web", "worker", "beat", "recorder", "observer"}),
    "CELERY_BROKER_URL": frozenset({"web", "worker", "beat", "recorder", "observer"}),
    # They may contain the passwords of sentinels and of keys.
    "CELERY_BROKER_TRANSPORT_OPTIONS": frozenset({"web", "worker", "beat", "recorder", "observer"}),
    "CELERY_BROKER_USE_SSL": frozenset({"web", "worker", "beat", "recorder", "observer"}),
    "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": frozenset({"web", "worker", "beat", "recorder", "observer"}),
    "CELERY_RESULT_BACKEND": frozenset({"web", "worker", "beat", "recorder", "observer"}),
    "DATABASE_URL": frozenset({"release", "web", "worker", "beat", "recorder", "observer"}),
    # Beat, recorder and observer open and seal the secret arguments of runs; the others build the application.
    "SECRET_KEY": frozenset({"release", "web", "worker", "beat", "recorder", "observer"}),
}
PROCESSES = frozenset().union(*NEEDED_BY.values())
# Embedded servers have configuration files, and get only the variables that every program needs.
SERVERS = frozenset({"valkey", "smtp"})
# The variables that identify an installation.
IDENTIFYING = ("SECRET_KEY", "DATABASE_URL")
SERVER_VARIABLES = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV")


def environment_of(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the environment for the process of that name."""
    if name in SERVERS:
        return {
            key: value for key, value in environ.items() if key in SERVER_VARIABLES or key.startswith(("LC_", "PYTHON"))
        }
    known = name in PROCESSES

    def gets(setting: str) -> bool:
        return setting not in NEEDED_BY or name in NEEDED_BY[setting] or not (known or setting == "ADMIN_PASSWORD")

    return {key: value for key, value in environ.items() if gets(key.removeprefix(PREFIX))}


def use_data_folder(environ: MutableMapping[str, str] = os.environ) -> None:
    """Complete a command's environment with that of the `make run` of its data folder (BEATDESK_DATA or ./var).

    While that runs, these are all its settings; otherwise only the secret key. Variables that are set stay as they are,
    and nothing is added if SECRET_KEY or DATABASE_URL is that of another installation.
    """
    given = given_settings(environ)
    folder = Path(given.get("BEATDESK_DATA", "var"))
    kept: dict[str, str] = {}
    with suppress(OSError):
        kept["SECRET_KEY"] = (folder / "secret_key").read_text().strip()
    with suppress(OSError):
        words = shlex.split((folder / "env.sh").read_text())
        kept |= given_settings(dict(word.split("=", 1) for word in words if "=" in word))
    # Without the scheme of a database's URL, which has several spellings.
    same = [_after_scheme(given.get(name)) in ("", _after_scheme(kept.get(name))) for name in IDENTIFYING]
    if all(same):
        environ.update((variable(name), value) for name, value in kept.items() if name not in given)


def _after_scheme(text: str | None) -> str:
    return (text or "").rpartition("://")[2]
