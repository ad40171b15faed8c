"""Named in TASK_MODULES, it makes a worker whose unacknowledged messages Redis redelivers after a second."""

from __future__ import annotations

from celery import current_app

for options in (
    current_app.conf,
    current_app.conf.broker_transport_options,
    current_app.conf.result_backend_transport_options,
):
    options["visibility_timeout"] = 1
current_app.conf.broker_transport_options["unacked_restore_interval"] = 0.5
