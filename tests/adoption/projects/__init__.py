"""Five Celery projects in the shapes of real ones, with environments of their own. They know nothing of Beatdesk.

Each is a package with the same parts: `app`, for `celery -A`; `prepare`, which makes its database and its schedules as
its documentation says; and `load`, which does what its users do. Each execution of a task writes a line into the
project's ledger: the call, then the task id.
"""
