"""Push: Server-Sent Events that tell open pages when to ask for their partial again."""
