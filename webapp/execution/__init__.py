"""What happens around a task: claim, execution, end, and what is said of it meanwhile."""
