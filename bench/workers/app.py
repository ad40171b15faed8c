"""The peers' Celery app, in their own environment.

`BENCH_KIND` says whether results go to django-celery-results, `BENCH_SETTINGS` has further settings as JSON.
"""

from __future__ import annotations

import json
import os
from urllib.parse import parse_qs, urlsplit

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_BROKER"], include=["bench.workers.tasks"])
app.conf.update(timezone="UTC", enable_utc=True, broker_connection_retry_on_startup=True)
app.conf.update(json.loads(os.environ["BENCH_SETTINGS"]))


def _use_django(url: str) -> None:
    """The smallest Django project that carries it, on PostgreSQL."""
    import django
    from django.conf import settings

    parts = urlsplit(url)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username,
        "HOST": parse_qs(parts.query)["host"][0],
        # Kept open, as Django's documentation advises for a long-lived process.
        "CONN_MAX_AGE": None,
    }
    field = "django.db.models.AutoField"
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=["django_celery_results"],
        USE_TZ=True,
        TIME_ZONE="UTC",
        DEFAULT_AUTO_FIELD=field,
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    app.conf.result_backend = "django-db"


if os.environ["BENCH_KIND"] == "adopted":
    import beatdesk

    beatdesk.adopt(app)
elif os.environ["BENCH_KIND"] == "results":
    _use_django(os.environ["BENCH_DATABASE"])
