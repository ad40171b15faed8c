"""All tables, for Alembic and for the test that compares the models with a migrated database."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy_celery_beat import models as library

from webapp.database.engine import Base
from webapp.identity import models as accounts
from webapp.mail_store import models as mail
from webapp.messaging import installation
from webapp.run_store import failure_models as failures
from webapp.run_store import models as runs
from webapp.run_store import observed_workers
from webapp.run_store import worker_models as workers
from webapp.schedule_store import beat_models as scheduler
from webapp.schedule_store import models as schedules
from webapp.task_catalogue import announced
from webapp.web import idempotency

# Importing a module declares its tables in the one metadata.
MODULES = (
    library,
    accounts,
    announced,
    failures,
    idempotency,
    installation,
    mail,
    observed_workers,
    runs,
    scheduler,
    schedules,
    workers,
)


def plain_metadata() -> sa.MetaData:
    """A copy of all tables in the default schema; the library declares its own in `celery_schema`."""
    plain = sa.MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.sorted_tables:
        table.to_metadata(plain, schema=None)
    return plain


def compared(thing: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:  # noqa: ARG001  # as Alembic asks
    """Whether Alembic compares an object with the models; the trigram index cannot be described by a model."""
    return not (name or "").startswith(("schedule_grams", "ix_schedule_words_grams"))
