"""Schedules as they lie in the tables: models, what a row means, writing them."""
