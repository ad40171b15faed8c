"""The shop's ledger, a table."""

from __future__ import annotations

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.adoption.projects.fastapi_shop.app import DATABASE

engine = create_engine(DATABASE, connect_args={"timeout": 30})


class Base(DeclarativeBase):
    """The shop's models."""


class Execution(Base):
    """One execution of a task."""

    __tablename__ = "executions"

    id: Mapped[int] = mapped_column(primary_key=True)
    call: Mapped[str]
    task_id: Mapped[str]


def note(call: str, task_id: str) -> None:
    """One row in the ledger."""
    with Session(engine) as session:
        session.add(Execution(call=call, task_id=task_id))
        session.commit()
