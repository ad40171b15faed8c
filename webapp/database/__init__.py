"""The database: engine, moments, and what statements say differently in each dialect."""
