"""Who people are and what they may do; the audit's record of what they did."""
