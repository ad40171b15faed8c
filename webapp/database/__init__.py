"""The database: its engine, moments, conditions and searches in the words of each dialect, pages along a key."""
