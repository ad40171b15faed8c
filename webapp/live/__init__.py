"""Live updates: Server-Sent Events that notify open pages when to fetch their partial again."""
