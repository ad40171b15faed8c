"""The shop's ledger, a table."""

from __future__ import annotations

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The shop's models."""


db = SQLAlchemy(model_class=Base)


class Execution(Base):
    """One execution of a task, in the shop of that name."""

    __tablename__ = "executions"

    id: Mapped[int] = mapped_column(primary_key=True)
    call: Mapped[str]
    task_id: Mapped[str]
    shop: Mapped[str]
