"""Its database and its schedules, as `manage.py migrate` and Django's admin make them."""

from __future__ import annotations

import json
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.adoption.projects.django_shop.settings")
django.setup()

from django.core.management import call_command  # noqa: E402 - Django must be set up before its models are imported
from django.db import connection  # noqa: E402 - as above
from django_celery_beat.models import IntervalSchedule, PeriodicTask  # noqa: E402 - as above

from tests.adoption.projects.django_shop.models import Execution  # noqa: E402 - as above

call_command("migrate", verbosity=0)
with connection.schema_editor() as editor:
    editor.create_model(Execution)
every_second, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
PeriodicTask.objects.create(
    name="tick", task="django_shop.record", args=json.dumps(["own"]), interval=every_second, enabled=True
)
