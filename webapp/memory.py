"""What a process keeps for as long as it lives, taken out of the search for garbage."""

from __future__ import annotations

import gc


def keep_for_good() -> None:
    """Call it when everything is imported and built.

    Python looks through all objects from time to time, for those that only refer to each other. For a web process that
    is 200,000 objects, of which none is ever garbage, and 130 ms of the one request that happens to be served then.
    """
    gc.collect()
    gc.freeze()
