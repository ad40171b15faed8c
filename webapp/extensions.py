"""The application's singletons, made without an application and bound to one by `create_app`.

Imports nothing of ours but the database's basics, so that all other modules can import it.
"""

from __future__ import annotations

from celery import Celery
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_security import Security
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from htmx_flask import Htmx

from webapp.database.engine import Base

# Objects stay loaded after the commit, so that views and senders can read them without a new transaction.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
csrf = CSRFProtect()
htmx = Htmx()
limiter = Limiter(key_func=get_remote_address)
security = Security()
# The task class, and the part that makes connections and messages, are named as text, which avoids the import.
celery = Celery(
    "beatdesk", task_cls="beatdesk.execution.run_task:RunTask", amqp="webapp.messaging.celery_connections:Amqp"
)
# Runs when tasks are first needed; importing `webapp.tasks` imports each module in it. Registered here, because in the
# factory it would run once for each application.
celery.autodiscover_tasks(["webapp"], related_name="tasks")
