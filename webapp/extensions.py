"""The application's singletons. Each is made here without an application and is bound to one by `create_app`.

Imports nothing of ours but the database's basics, so that everything may import it.
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

# What was loaded stays readable after the commit: views and senders use it without a new transaction.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
csrf = CSRFProtect()
htmx = Htmx()
limiter = Limiter(key_func=get_remote_address)
security = Security()
# The task class, and the part that makes connections and messages, are named as text, which avoids the import.
celery = Celery(
    "beatdesk", task_cls="webapp.execution.run_task:RunTask", amqp="webapp.messaging.celery_connections:Amqp"
)
# Done when somebody asks for tasks; importing `webapp.tasks` imports each module in it. Here, once: Celery would look
# once more for each application that is bound to it.
celery.autodiscover_tasks(["webapp"], related_name="tasks")
