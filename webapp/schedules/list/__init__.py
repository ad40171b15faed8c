"""The list of schedules: filters, order, last runs, bulk actions."""
