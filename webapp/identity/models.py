"""The tables of people, roles, sessions, API tokens and the audit."""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa
from flask_security import RoleMixin, UserMixin
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.database.engine import Base, UtcDateTime, now

roles_users = sa.Table(
    "roles_users",
    Base.metadata,
    sa.Column("user_id", sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("role_id", sa.ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True),
)


class Role(Base, RoleMixin):
    """One of viewer, operator, scheduler, admin, member (see `webapp.web.access`)."""

    __tablename__ = "roles"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    description: Mapped[str] = mapped_column(sa.String(255), default="")
    permissions: Mapped[str | None] = mapped_column(sa.Text, comment="Flask-Security reads it; unused here")


class User(Base, UserMixin):
    """A person. `timezone` is an IANA name; `birthday` is a calendar date without one."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(255), unique=True, comment="Normalised, lower case")
    name: Mapped[str] = mapped_column(sa.String(120))
    password: Mapped[str] = mapped_column(sa.String(255))
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(sa.String(64), unique=True)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    birthday: Mapped[date | None]
    birthday_key: Mapped[int | None] = mapped_column(index=True, comment="Month * 100 + day, to find today's quickly")
    timezone: Mapped[str] = mapped_column(sa.String(64), default="UTC")
    wants_birthday_mail: Mapped[bool] = mapped_column(default=True)
    wants_report_mail: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_login_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    roles: Mapped[list[Role]] = relationship(
        secondary=roles_users, lazy="selectin", cascade="save-update, merge, expunge"
    )

    __table_args__ = (sa.Index("ix_users_created", "created_at"),)


class SignIn(Base):
    """One browser's session. A signed cookie names the row; ending the row ends the session for every copy of it."""

    __tablename__ = "sign_ins"

    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True, comment="SHA-256 of the token in the cookie")
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    address: Mapped[str] = mapped_column(sa.String(64), default="")
    agent: Mapped[str] = mapped_column(sa.String(255), default="")


class ApiToken(Base):
    """A token with which a program acts as a person; see `webapp.accounts.tokens`."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True, comment="SHA-256 of the token")
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    label: Mapped[str] = mapped_column(sa.String(120), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="To the minute")
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()


class AuditEntry(Base):
    """One state change, inserted in the transaction that makes it and never updated."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    actor_id: Mapped[int | None] = mapped_column(comment="None: the system, or nobody signed in")
    actor: Mapped[str] = mapped_column(sa.String(255), comment="As it was called then")
    action: Mapped[str] = mapped_column(sa.String(60), comment="For example schedule.update")
    object_type: Mapped[str] = mapped_column(sa.String(40))
    object_id: Mapped[str] = mapped_column(sa.String(64), default="")
    object_name: Mapped[str] = mapped_column(sa.String(255), default="")
    before: Mapped[str | None] = mapped_column(sa.Text, comment="JSON of the fields that changed")
    after: Mapped[str | None] = mapped_column(sa.Text, comment="JSON of the fields that changed")
    address: Mapped[str] = mapped_column(sa.String(64), default="")

    __table_args__ = (sa.Index("ix_audit_object", "object_type", "object_id", "at"),)
