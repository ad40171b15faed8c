"""Going back: what Beatdesk added to the servers that it used, and its removal."""
