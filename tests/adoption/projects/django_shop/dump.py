"""`python -m …dump` prints what `manage.py dumpdata django_celery_beat` does."""

from __future__ import annotations

import os

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.adoption.projects.django_shop.settings")
django.setup()
call_command("dumpdata", "django_celery_beat")
