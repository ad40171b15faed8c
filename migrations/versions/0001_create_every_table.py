"""Create every table, or take over those that sqlalchemy-celery-beat made by itself, with the schedules in them.

On PostgreSQL the library keeps its tables in the schema `celery_schema`. They are moved, with everything in them, to
where ours are; a view of the same name stays behind for each, through which other programs go on reading and writing.
Elsewhere, or with the library's setting for another schema, tables in the default schema are used where they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LIBRARY_SCHEMA = "celery_schema"
LIBRARY_TABLES = {
    "celery_clockedschedule",
    "celery_crontabschedule",
    "celery_intervalschedule",
    "celery_periodictask",
    "celery_periodictaskchanged",
    "celery_solarschedule",
}
LIBRARY_TYPES = ("period", "solarevent")


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        _move(connection)
    there = set(sa.inspect(connection).get_table_names()) & LIBRARY_TABLES
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Integer(), nullable=True, comment="None: the system, or nobody signed in"),
        sa.Column("actor", sa.String(length=255), nullable=False, comment="As it was called then"),
        sa.Column("action", sa.String(length=60), nullable=False, comment="For example schedule.update"),
        sa.Column("object_type", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("object_name", sa.String(length=255), nullable=False),
        sa.Column("before", sa.Text(), nullable=True, comment="JSON of the fields that changed"),
        sa.Column("after", sa.Text(), nullable=True, comment="JSON of the fields that changed"),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index("ix_audit_object", "audit", ["object_type", "object_id", "at"], unique=False)
    op.create_table(
        "beat_lease",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=True, comment="beats.id"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="On the database's clock"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "beats",
        sa.Column("id", sa.String(length=64), nullable=False, comment="Random, new at each start"),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("leading", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="Applied"),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True, comment="When, on the database's clock"),
        sa.Column("schedules", sa.Integer(), nullable=False, comment="How many it holds"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_beats_seen_at"), "beats", ["seen_at"], unique=False)
    _library_table(
        there,
        "celery_clockedschedule",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("clocked_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    _library_table(
        there,
        "celery_crontabschedule",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column(
            "minute",
            sa.String(length=240),
            nullable=False,
            comment='Cron Minutes to Run. Use "*" for "all". (Example: "0,30")',
        ),
        sa.Column(
            "hour",
            sa.String(length=96),
            nullable=False,
            comment='Cron Hours to Run. Use "*" for "all". (Example: "8,20")',
        ),
        sa.Column(
            "day_of_week",
            sa.String(length=64),
            nullable=False,
            comment='Cron Days Of The Week to Run. Use "*" for "all", Sunday is 0 or 7, Monday is 1. (Example: "0,5")',
        ),
        sa.Column(
            "day_of_month",
            sa.String(length=124),
            nullable=False,
            comment='Cron Days Of The Month to Run. Use "*" for "all". (Example: "1,15")',
        ),
        sa.Column(
            "month_of_year",
            sa.String(length=64),
            nullable=False,
            comment='Cron Months (1-12) Of The Year to Run. Use "*" for "all". (Example: "1,12")',
        ),
        sa.Column(
            "timezone",
            sa.String(length=64),
            nullable=False,
            comment="Timezone to Run the Cron Schedule on. Default is UTC.",
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    _library_table(
        there,
        "celery_intervalschedule",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column(
            "every",
            sa.Integer(),
            nullable=False,
            comment="Number of interval periods to wait before running the task again",
        ),
        sa.Column(
            "period",
            sa.Enum("days", "hours", "minutes", "seconds", "microseconds", name="period"),
            nullable=False,
            comment="The type of period between task runs (Example: days)",
        ),
        sa.CheckConstraint("every >= 1"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    _library_table(
        there,
        "celery_periodictask",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False, comment="Short Description For This Task"),
        sa.Column(
            "task",
            sa.String(length=255),
            nullable=False,
            comment='The Name of the Celery Task that Should be Run.  (Example: "proj.tasks.import_contacts")',
        ),
        sa.Column(
            "args", sa.Text(), nullable=False, comment='JSON encoded positional arguments (Example: ["arg1", "arg2"])'
        ),
        sa.Column(
            "kwargs",
            sa.Text(),
            nullable=False,
            comment='JSON encoded keyword arguments (Example: {"argument": "value"})',
        ),
        sa.Column(
            "queue",
            sa.String(length=255),
            nullable=True,
            comment="Queue defined in CELERY_TASK_QUEUES. Leave None for default queuing.",
        ),
        sa.Column(
            "exchange", sa.String(length=255), nullable=True, comment="Override Exchange for low-level AMQP routing"
        ),
        sa.Column(
            "routing_key",
            sa.String(length=255),
            nullable=True,
            comment="Override Routing Key for low-level AMQP routing",
        ),
        sa.Column("headers", sa.Text(), nullable=True, comment="JSON encoded message headers for the AMQP message."),
        sa.Column(
            "priority",
            sa.Integer(),
            nullable=True,
            comment="Priority Number between 0 and 255. "
            "Supported by: RabbitMQ, Redis (priority reversed, 0 is highest).",
        ),
        sa.Column(
            "expires",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Datetime after which the schedule will no longer trigger the task to run",
        ),
        sa.Column(
            "expire_seconds",
            sa.Integer(),
            nullable=True,
            comment="Timedelta with seconds which the schedule will no longer trigger the task to run",
        ),
        sa.Column(
            "one_off",
            sa.Boolean(),
            nullable=False,
            comment="If True, the schedule will only run the task a single time",
        ),
        sa.Column(
            "start_time",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Datetime when the schedule should begin triggering the task to run",
        ),
        sa.Column("enabled", sa.Boolean(), nullable=False, comment="Set to False to disable the schedule"),
        sa.Column(
            "last_run_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Datetime that the schedule last triggered the task to run. ",
        ),
        sa.Column(
            "total_run_count",
            sa.Integer(),
            nullable=False,
            comment="Running count of how many times the schedule has triggered the task",
        ),
        sa.Column(
            "date_changed",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Datetime that this PeriodicTask was last modified",
        ),
        sa.Column(
            "description",
            sa.Text(),
            nullable=True,
            comment="Detailed description about the details of this Periodic Task",
        ),
        sa.Column(
            "discriminator", sa.String(length=20), nullable=False, comment="Lower case name of the schedule class. "
        ),
        sa.Column("schedule_id", sa.Integer(), nullable=False, comment="ID of the schedule model object. "),
        sa.CheckConstraint("priority BETWEEN 0 AND 255"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_autoincrement=True,
    )
    _library_table(
        there,
        "celery_periodictaskchanged",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("last_update", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=False,
    )
    _library_table(
        there,
        "celery_solarschedule",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column(
            "event",
            sa.Enum(
                "dawn_astronomical",
                "dawn_nautical",
                "dawn_civil",
                "sunrise",
                "solar_noon",
                "sunset",
                "dusk_civil",
                "dusk_nautical",
                "dusk_astronomical",
                name="solarevent",
            ),
            nullable=False,
            comment="The type of solar event when the job should run",
        ),
        sa.Column(
            "latitude",
            sa.Numeric(precision=9, scale=6, decimal_return_scale=6, asdecimal=False),
            nullable=False,
            comment="Run the task when the event happens at this latitude",
        ),
        sa.Column(
            "longitude",
            sa.Numeric(precision=9, scale=6, decimal_return_scale=6, asdecimal=False),
            nullable=False,
            comment="Run the task when the event happens at this longitude",
        ),
        sa.CheckConstraint("latitude BETWEEN -90 AND 90"),
        sa.CheckConstraint("longitude BETWEEN -180 AND 180"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("event", "latitude", "longitude"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "roles",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=True, comment="Flask-Security reads it; unused here"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column("args", sa.Text(), nullable=False),
        sa.Column("kwargs", sa.Text(), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("options", sa.Text(), nullable=True, comment="JSON of what else apply_async takes"),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it was skipped, missed, revoked, retried"),
        sa.Column("origin", sa.String(length=12), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=True, comment="The person who asked for it"),
        sa.Column("retry_of", sa.String(length=36), nullable=True),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("root_id", sa.String(length=36), nullable=True),
        sa.Column("schedule_id", sa.Integer(), nullable=True, comment="No foreign key: history outlives its schedule"),
        sa.Column("schedule_name", sa.String(length=255), nullable=True),
        sa.Column("schedule_version", sa.Integer(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("eta", sa.DateTime(timezone=True), nullable=True, comment="Held until then"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="Not begun after then"),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True, comment="The broker confirmed the message"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False, comment="Celery's count of retries"),
        sa.Column("claims", sa.Integer(), server_default="0", nullable=False, comment="How often a worker began it"),
        sa.Column("claimed_by", sa.String(length=64), nullable=True, comment="workers.id of who executes it"),
        sa.Column("claim_seen_at", sa.DateTime(timezone=True), nullable=True, comment="Last sign of life of the claim"),
        sa.Column("worker", sa.String(length=255), nullable=True, comment="The node name people know"),
        sa.Column(
            "sends", sa.Integer(), server_default="0", nullable=False, comment="How often its message was published"
        ),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True, comment="Exception: message"),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("schedule_id", "due_at", name="uq_runs_schedule_due"),
    )
    op.create_index(
        "ix_runs_active",
        "runs",
        ["claim_seen_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('started', 'retrying')"),
        postgresql_where=sa.text("state IN ('started', 'retrying')"),
    )
    op.create_index("ix_runs_created", "runs", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_runs_held",
        "runs",
        ["eta"],
        unique=False,
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_runs_queued",
        "runs",
        ["sent_at"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index("ix_runs_state_created", "runs", ["state", "created_at"], unique=False)
    op.create_index("ix_runs_task_created", "runs", ["task", "created_at"], unique=False)
    op.create_table(
        "schedule_details",
        sa.Column("schedule_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "revision",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Of the whole table, when this row changed",
        ),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.func.current_timestamp(), nullable=False),
        sa.Column(
            "timezone",
            sa.String(length=64),
            server_default="UTC",
            nullable=False,
            comment="In which people read its times",
        ),
        sa.Column("anchor", sa.DateTime(timezone=True), nullable=True, comment="Where an interval's grid begins"),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("max_runs", sa.Integer(), nullable=True),
        sa.Column("jitter", sa.Double(), server_default="0", nullable=False, comment="Seconds, at most"),
        sa.Column("misfire", sa.String(length=12), server_default="run once", nullable=False),
        sa.Column("misfire_window", sa.Integer(), server_default="3600", nullable=False, comment="Seconds back"),
        sa.Column("overlap", sa.String(length=12), server_default="allow", nullable=False),
        sa.Column("owner", sa.String(length=8), server_default="admin", nullable=False),
        sa.Column("code_definition", sa.Text(), nullable=True, comment="JSON of what the code says"),
        sa.Column("tags", sa.Text(), server_default="[]", nullable=False, comment="JSON list"),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("failure_budget", sa.Integer(), nullable=True, comment="Pause after that many failures in a row"),
        sa.PrimaryKeyConstraint("schedule_id"),
    )
    op.create_index(op.f("ix_schedule_details_revision"), "schedule_details", ["revision"], unique=False)
    op.create_table(
        "schedule_progress",
        sa.Column("schedule_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_due_at", sa.DateTime(timezone=True), nullable=True, comment="The last due time accounted for"),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("runs", sa.Integer(), server_default="0", nullable=False, comment="Counts toward the maximum"),
        sa.Column("broken", sa.Text(), nullable=True, comment="Why it cannot fire; None when it can"),
        sa.PrimaryKeyConstraint("schedule_id"),
    )
    op.create_table(
        "schedule_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "schedule_tombstones",
        sa.Column("schedule_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), server_default=sa.func.current_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("schedule_id"),
    )
    op.create_index(op.f("ix_schedule_tombstones_revision"), "schedule_tombstones", ["revision"], unique=False)
    op.create_table(
        "schedule_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("schedule_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False, comment="JSON of all fields"),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("schedule_id", "version", name="uq_schedule_versions"),
    )
    op.create_table(
        "suppressed_addresses",
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("address"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False, comment="Normalised, lower case"),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("password", sa.String(length=255), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("fs_uniquifier", sa.String(length=64), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("birthday", sa.Date(), nullable=True),
        sa.Column("birthday_key", sa.Integer(), nullable=True, comment="Month * 100 + day, to find today's quickly"),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("wants_birthday_mail", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
        sa.UniqueConstraint("fs_uniquifier"),
    )
    op.create_index(op.f("ix_users_birthday_key"), "users", ["birthday_key"], unique=False)
    op.create_index("ix_users_created", "users", ["created_at"], unique=False)
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=64), nullable=False, comment="Random, new at each start"),
        sa.Column("name", sa.String(length=255), nullable=False, comment="Celery's node name"),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pool", sa.String(length=20), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False, comment="JSON list of names"),
        sa.Column("tasks", sa.Text(), nullable=False, comment="JSON list of the registered tasks"),
        sa.Column("versions", sa.Text(), nullable=False, comment="JSON: python, celery, kombu"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_workers_seen_at"), "workers", ["seen_at"], unique=False)
    op.create_table(
        "mails",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("recipient", sa.String(length=255), nullable=False),
        sa.Column("recipient_name", sa.String(length=120), nullable=False),
        sa.Column("context", sa.Text(), nullable=False, comment="JSON: what the wording needs"),
        sa.Column("run_id", sa.String(length=36), nullable=True, comment="The run that sends it"),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("message_id", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("ix_mails_created", "mails", ["created_at", "id"], unique=False)
    op.create_index("ix_mails_state_created", "mails", ["state", "created_at"], unique=False)
    op.create_index(op.f("ix_mails_user_id"), "mails", ["user_id"], unique=False)
    op.create_table(
        "roles_users",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("role_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "role_id"),
    )
    op.create_table(
        "sign_ins",
        sa.Column("id", sa.String(length=64), nullable=False, comment="SHA-256 of the token in the cookie"),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_sign_ins_user_id"), "sign_ins", ["user_id"], unique=False)


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for name in set(sa.inspect(connection).get_view_names(LIBRARY_SCHEMA)) & LIBRARY_TABLES:
            connection.exec_driver_sql(f"DROP VIEW {LIBRARY_SCHEMA}.{name}")
    op.drop_index(op.f("ix_sign_ins_user_id"), table_name="sign_ins")
    op.drop_table("sign_ins")
    op.drop_table("roles_users")
    op.drop_index(op.f("ix_mails_user_id"), table_name="mails")
    op.drop_index("ix_mails_state_created", table_name="mails")
    op.drop_index("ix_mails_created", table_name="mails")
    op.drop_table("mails")
    op.drop_index(op.f("ix_workers_seen_at"), table_name="workers")
    op.drop_table("workers")
    op.drop_index("ix_users_created", table_name="users")
    op.drop_index(op.f("ix_users_birthday_key"), table_name="users")
    op.drop_table("users")
    op.drop_table("suppressed_addresses")
    op.drop_table("schedule_versions")
    op.drop_index(op.f("ix_schedule_tombstones_revision"), table_name="schedule_tombstones")
    op.drop_table("schedule_tombstones")
    op.drop_table("schedule_revision")
    op.drop_table("schedule_progress")
    op.drop_index(op.f("ix_schedule_details_revision"), table_name="schedule_details")
    op.drop_table("schedule_details")
    op.drop_index("ix_runs_task_created", table_name="runs")
    op.drop_index("ix_runs_state_created", table_name="runs")
    op.drop_index(
        "ix_runs_queued",
        table_name="runs",
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.drop_index(
        "ix_runs_held",
        table_name="runs",
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.drop_index("ix_runs_created", table_name="runs")
    op.drop_index(
        "ix_runs_active",
        table_name="runs",
        sqlite_where=sa.text("state IN ('started', 'retrying')"),
        postgresql_where=sa.text("state IN ('started', 'retrying')"),
    )
    op.drop_table("runs")
    op.drop_table("roles")
    op.drop_table("celery_solarschedule")
    op.drop_table("celery_periodictaskchanged")
    op.drop_table("celery_periodictask")
    op.drop_table("celery_intervalschedule")
    op.drop_table("celery_crontabschedule")
    op.drop_table("celery_clockedschedule")
    op.drop_index(op.f("ix_beats_seen_at"), table_name="beats")
    op.drop_table("beats")
    op.drop_table("beat_lease")
    op.drop_index("ix_audit_object", table_name="audit")
    op.drop_index(op.f("ix_audit_at"), table_name="audit")
    op.drop_table("audit")
    for name in LIBRARY_TYPES:
        # PostgreSQL keeps an enumeration as a type of its own, which outlives its table.
        sa.Enum(name=name).drop(connection, checkfirst=True)


def _move(connection: sa.Connection) -> None:
    here = set(sa.inspect(connection).get_table_names())
    home = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    for name in sorted(set(sa.inspect(connection).get_table_names(LIBRARY_SCHEMA)) & LIBRARY_TABLES):
        if name in here:
            raise RuntimeError(
                f"{name} is in the schema {LIBRARY_SCHEMA} and in {home}: remove or rename one of the two."
            )
        # Its indexes, its constraints and the sequence of its numbers go along.
        connection.exec_driver_sql(f'ALTER TABLE {LIBRARY_SCHEMA}.{name} SET SCHEMA "{home}"')
        connection.exec_driver_sql(f'CREATE VIEW {LIBRARY_SCHEMA}.{name} AS SELECT * FROM "{home}".{name}')
    query = (
        "SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = '{}' AND typtype = 'e'"
    )
    for name in set(connection.exec_driver_sql(query.format(LIBRARY_SCHEMA)).scalars()) & set(LIBRARY_TYPES):
        connection.exec_driver_sql(f'ALTER TYPE {LIBRARY_SCHEMA}.{name} SET SCHEMA "{home}"')


def _library_table(there: set[str], name: str, *parts: SchemaItem, sqlite_autoincrement: bool = False) -> None:
    if name not in there:
        op.create_table(name, *parts, sqlite_autoincrement=sqlite_autoincrement)
        return
    columns = {part.name for part in parts if isinstance(part, sa.Column)}
    missing = columns - {column["name"] for column in sa.inspect(op.get_bind()).get_columns(name)}
    if missing:
        raise RuntimeError(
            f"{name} is there without {', '.join(sorted(missing))}: an older sqlalchemy-celery-beat made it. Bring it "
            "up to date with that library, or let `flask schedules import --database` read it into a fresh database."
        )
