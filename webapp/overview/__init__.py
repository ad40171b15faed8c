"""The front page and what monitors ask."""
