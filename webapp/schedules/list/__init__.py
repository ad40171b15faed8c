"""The list of schedules: filters, order, last runs, actions on many."""
