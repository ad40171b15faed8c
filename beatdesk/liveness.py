"""How often a worker shows that it is alive, and after how long without a sign it is taken for lost. In seconds."""

from __future__ import annotations

WORKER_HEARTBEAT = 2.0
# Late, because a second execution cannot be undone.
WORKER_LOST_AFTER = 15 * WORKER_HEARTBEAT
