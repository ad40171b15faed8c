"""A project's app with the one line that adopts it: `celery -A tests.adoption.projects.adopting worker`."""

from __future__ import annotations

import os

from celery.app.utils import find_app

import beatdesk

app = find_app(f"{os.environ['SHOP_PACKAGE']}.app")
beatdesk.adopt(app)
