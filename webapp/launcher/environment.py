"""What each process of `make run` finds in its environment: of what is secret only what it needs."""

from __future__ import annotations

from collections.abc import Mapping

# Who else has no use for it does not get it; a process of a name that is not known gets all but the first admin's.
NEEDED_BY: Mapping[str, frozenset[str]] = {
    "ADMIN_PASSWORD": frozenset({"release"}),
    "MAIL_USERNAME": frozenset({"worker"}),
    "MAIL_PASSWORD": frozenset({"worker"}),
    "METRICS_TOKEN": frozenset({"web"}),
    "REDIS_URL": frozenset({"web", "worker", "beat", "recorder"}),
    "CELERY_BROKER_URL": frozenset({"web", "worker", "beat", "recorder"}),
    "CELERY_RESULT_BACKEND": frozenset({"web", "worker", "beat", "recorder"}),
    "DATABASE_URL": frozenset({"release", "web", "worker", "beat", "recorder"}),
    # Beat and the recorder open and seal the secret arguments of runs; whatever builds the application needs one.
    "SECRET_KEY": frozenset({"release", "web", "worker", "beat", "recorder"}),
}
PROCESSES = frozenset().union(*NEEDED_BY.values())
# An embedded server reads its configuration; of the environment only what every program needs.
SERVERS = frozenset({"valkey", "smtp"})
PLAIN = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV")


def environment_of(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the environment that is for the process of that name."""
    if name in SERVERS:
        return {key: value for key, value in environ.items() if key in PLAIN or key.startswith(("LC_", "PYTHON"))}
    known = name in PROCESSES
    return {
        key: value
        for key, value in environ.items()
        if key not in NEEDED_BY or name in NEEDED_BY[key] or not (known or key == "ADMIN_PASSWORD")
    }
