"""The runtime around a task: claim, execution, end, and the stream entries about it. Stands alone, see `host`."""
